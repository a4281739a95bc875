"""Large mails from everybody at once: they are on disk when they are acknowledged, and never in memory."""

import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.campaigns.campaign import Campaign
from tests.process import Multid

pytestmark = pytest.mark.campaign

CLIENTS = 50
GROWTH = 100 << 20
BLOCK = 1 << 20


def lines(seed: int) -> bytes:
    """Return a block of lines that no other mail has."""
    own = random.Random(seed).randbytes(31).hex().encode() + b"\r\n"
    return own * (BLOCK // len(own))


def send(port: int, seed: int, size: int) -> bytes:
    """Send a mail, and return the reply to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as client, client.makefile("rb") as replies:
        replies.readline()
        for command in (b"HELO client", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.net>", b"DATA"):
            client.sendall(command + b"\r\n")
            assert replies.readline()[:1] in b"23"
        block = lines(seed)
        client.sendall(b"Subject: large\r\n\r\n")
        for _ in range(size // len(block)):
            client.sendall(block)
        client.sendall(b".\r\n")
        return replies.readline()


def stored(file: Path, size: int, seeds: range) -> int:
    """Return whose mail a file holds, whole and unchanged."""
    blocks = {lines(seed): seed for seed in seeds}
    with file.open("rb") as content:
        while content.readline() != b"\r\n":
            pass
        seed = blocks[content.read(BLOCK)]
        read = BLOCK
        while block := content.read(BLOCK):
            assert blocks[block] == seed
            read += BLOCK
    assert read == size // BLOCK * BLOCK
    return seed


def test_fifty_clients_with_a_large_mail_each(tmp_path, campaign: Campaign) -> None:
    size = campaign.times(5 << 20, 50 << 20)
    stanza = {
        "listen": "tcp:0:interface=127.0.0.1",
        "mode": "hold",
        "limits": {"size": "60MiB", "per_peer": CLIENTS},
        "queue": {"path": str(tmp_path / "mail")},
    }
    with Multid(tmp_path, {"services": {"smtp": stanza}}) as multid, ThreadPoolExecutor(CLIENTS) as clients:
        port, before = multid.port("smtp"), multid.rss()
        seeds = range(campaign.seed, campaign.seed + CLIENTS)
        replies = list(clients.map(lambda seed: send(port, seed, size), seeds))
        assert all(reply.startswith(b"250 2.0.0") for reply in replies), replies
        campaign.ledger["mails"] = len(replies)
        campaign.ledger["octets each"] = size
        campaign.ledger["growth at most, in KiB"] = (multid.peak_rss() - before) // 1024
        campaign.ledger["seconds"] = campaign.seconds
        files = (tmp_path / "mail/content").iterdir()
        assert sorted(stored(file, size, seeds) for file in files) == list(seeds)
        assert multid.peak_rss() - before < GROWTH
        multid.stop()
        assert "Traceback" not in multid.log
