"""Clients of a relay that are slow, silent, or never read: each is sent away in time, and costs nobody anything.

Those who are served meanwhile are clients of another relay of the same process.
"""

import itertools
import select
import socket
import time
from contextlib import ExitStack

import pytest

from tests.campaigns.campaign import happens
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.watch import Clients
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
RUDE = "127.0.0.2"
"""Where the rude ones come from."""
PATIENCE = 4
"""Seconds that the relay waits: for a client that says nothing, says it too slowly, or does not read."""
LAST = 60.0
"""Seconds after which it has sent away the last, on a busy machine; a client's time begins anew with each reply."""
MEMORY = 32 << 20
PROMPT = 1000.0

ENVELOPE = b"EHLO x\r\nMAIL FROM:<a@rude.example>\r\nRCPT TO:<b@campaign.example>\r\nDATA\r\n"
KINDS = {
    "is silent": (b"", b""),
    "is silent in a mail": (ENVELOPE, b""),
    "drips a command": (b"EHLO x\r\n", b"M"),
    "drips a mail": (ENVELOPE, b"x\r\n"),
    "never reads": (b"", b"EHLO x\r\n" * 1000),
}
"""What each says first, and then ten times a second."""


class Rude:
    """One client; `ended` is when the relay ended the connection."""

    def __init__(self, port: int, kind: str) -> None:
        self.kind = kind
        self.heard = b""
        self.ended: float | None = None
        self.began = time.monotonic()
        self.sock = socket.socket()
        self._waiting, self._more = KINDS[kind]
        self._reads = kind != "never reads"
        if not self._reads:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.bind((RUDE, 0))
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)

    def act(self) -> None:
        """Say the next bit, hear what there is to hear, and look whether it is over."""
        try:
            self._waiting = (self._waiting or self._more)[self.sock.send(self._waiting or self._more) :]
        except BlockingIOError:
            pass
        except OSError:
            self._end()
        try:
            while self._reads and self.ended is None:
                data = self.sock.recv(65536)
                self.heard += data
                if not data:
                    self._end()
        except BlockingIOError:
            pass
        except OSError:
            self._end()
        poll = select.poll()
        poll.register(self.sock, 0)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
            self._end()

    def _end(self) -> None:
        self.ended = self.ended or time.monotonic()


def test_rude_mailers(campaign, tmp_path) -> None:
    rounds, each = campaign.times((1, 20), (12, 100))
    crowd: list[Rude] = []
    with NextHop() as hop:
        smtp = {"listen": LOOPBACK, "hostname": "relay.example", "routes": [{"via": hop.url, "tls": "none"}]}
        impatient = {
            **smtp,
            "type": "smtp",
            "queue": {"path": "var/impatient"},
            "limits": {"connections": 2000, "per_peer": 1000},
            "timeouts": {"idle": f"{PATIENCE}s", "stall": f"{PATIENCE}s"},
        }
        with Multid(tmp_path, {"services": {"smtp": smtp, "impatient": impatient}}) as multid:
            port, rude_port, before, most = multid.port("smtp"), multid.port("impatient"), multid.rss(), 0
            senders = Senders(lambda: port, 2, seed=campaign.seed, numbers=itertools.count(), every=0.02)
            with Clients(port, b"EHLO x\r\nQUIT\r\n", b"221 2.0.0 Bye\r\n") as clients, ExitStack() as sockets:
                for _ in range(rounds):
                    rude = [Rude(rude_port, kind) for kind in KINDS for _ in range(each)]
                    crowd += rude
                    for client in rude:
                        sockets.enter_context(client.sock)
                    while any(client.ended is None for client in rude):
                        longest = time.monotonic() - min(client.began for client in rude)
                        assert longest < LAST, left(rude)
                        for client in rude:
                            if client.ended is None:
                                client.act()
                        most = max(most, multid.rss() - before)
                        time.sleep(0.1)
            senders.stop()
            happens(lambda: senders.acknowledged <= set(hop.arrived))
            log = multid.log
            multid.stop()
    for kind in KINDS:
        took = [client.ended - client.began for client in crowd if client.kind == kind and client.ended]
        campaign.ledger[f"{kind}: seconds to the end, least"] = min(took)
        campaign.ledger[f"{kind}: seconds to the end, most"] = max(took)
    campaign.ledger.update(
        {
            "rude clients": len(crowd),
            "clients served": len(clients.seconds),
            "clients not served": len(clients.failures),
            "milliseconds of a client, 95 of 100": clients.percentile(95),
            "mails acknowledged": len(senders.acknowledged),
            "mails arrived": len(hop.arrived),
            "octets of memory more": most,
        }
    )
    assert all(b"\r\n421 4.4.2 " in client.heard for client in crowd if client.kind.startswith("is silent"))
    assert clients.percentile(95) < PROMPT
    assert (clients.failures, senders.refused, senders.lost_connections) == ([], set(), 0)
    assert set(hop.arrived) == senders.acknowledged
    assert most < MEMORY
    assert "Traceback" not in log


def left(crowd: list[Rude]) -> str:
    return ", ".join(sorted({client.kind for client in crowd if client.ended is None})) + ": still there"
