"""Nobody waits for a neighbour: floods, drips and compression beside senders of single lines.

A line says when it was sent, its record when it was received, and it is appended in the same breath.
"""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.process import Multid

pytestmark = pytest.mark.campaign
PATIENCE = 0.1
"""Seconds that a line may take."""
QUIET = "127.0.0.2"
"""The address of those who send single lines; the file's name tells them from the others."""

FLOOD = """
import socket, sys
blocks = [sock.sendall for sock in [socket.create_connection(("127.0.0.1", int(sys.argv[1])))]]
block = (b"x" * 156 + b"\\n") * 1000
while True:
    for send in blocks:
        send(block)
"""


def multid(folder: Path, rotate: dict, **keys) -> Multid:
    limits = {"connections": 5000, "per_peer": 5000}
    output = [{"file": "{peer}.log", "rotate": rotate}]
    logger = {"listen": "tcp:0:interface=127.0.0.1", "output": output, "limits": limits, **keys}
    return Multid(folder, {"services": {"logger": logger}})


def senders_of_single_lines(port: int, senders: int, lines: int) -> None:
    """Each sends so many lines, one every 20 ms or so."""
    socks = [socket.create_connection(("127.0.0.1", port), source_address=(QUIET, 0)) for _ in range(senders)]
    for _ in range(lines):
        for sock in socks:
            sock.sendall(f"{time.time():.6f}\n".encode())
            time.sleep(0.02 / senders)
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        sock.close()


def delays(folder: Path) -> list[float]:
    """Seconds from sending to receiving, of every single line, least first."""
    found = []
    for path in folder.glob(f"{QUIET}.log*"):
        for record in path.read_text().splitlines():
            received, _service, _peer, sent = record.split(" ")
            found.append(datetime.fromisoformat(received).timestamp() - float(sent))
    return sorted(found)


@contextlib.contextmanager
def flood(port: int) -> Iterator[None]:
    """A process that sends as fast as it is read."""
    with subprocess.Popen([sys.executable, "-c", FLOOD, str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def repeatedly(step: float, act) -> Iterator[None]:
    """A thread that does something every `step` seconds."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.wait(step):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(30)


@pytest.mark.parametrize("parse", ["none", "syslog"])
def test_a_flood_starves_nobody(campaign, tmp_path, parse) -> None:
    lines = campaign.times(50, 1000)
    with multid(tmp_path, {"size": "64MiB", "keep": 1}, parse=parse) as daemon:
        port = daemon.port("logger")
        with flood(port):
            senders_of_single_lines(port, 20, lines)
        daemon.stop(within=90)
    found = delays(tmp_path)
    p99 = found[int(len(found) * 0.99)]
    campaign.ledger.update({"single lines": len(found), "ms, p99": p99 * 1000, "ms, worst": found[-1] * 1000})
    assert len(found) == 20 * lines
    assert p99 < PATIENCE


def test_a_thousand_drips_make_nobody_wait(campaign, tmp_path) -> None:
    with multid(tmp_path, {"size": "64MiB"}) as daemon:
        port = daemon.port("logger")
        before = daemon.rss()
        with contextlib.ExitStack() as stack:
            drips = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(1000)]
            turns = iter(range(1 << 30))
            stack.enter_context(repeatedly(0.01, lambda: [drips[next(turns) % 1000].send(b"x") for _ in range(10)]))
            senders_of_single_lines(port, 1, campaign.times(200, 2000))
            grown = daemon.rss() - before
        daemon.stop()
    found = delays(tmp_path)
    p99 = found[int(len(found) * 0.99)]
    campaign.ledger.update(
        {"ms, p99": p99 * 1000, "ms, worst": found[-1] * 1000, "KiB more a drip": grown / 1024 / 1000}
    )
    assert p99 < PATIENCE
    assert grown < 32 << 20


def test_compression_delays_nobody(campaign, tmp_path) -> None:
    with multid(tmp_path, {"size": "8MiB", "compress": "gzip"}) as daemon:
        port = daemon.port("logger")
        block = b"".join(b"%d %0280d\n" % (number * number, number) for number in range(350))
        with socket.create_connection(("127.0.0.1", port)) as sock, repeatedly(0.01, lambda: sock.sendall(block)):
            senders_of_single_lines(port, 4, campaign.times(150, 1500))
        daemon.stop(within=90)
    found = delays(tmp_path)
    p99 = found[int(len(found) * 0.99)]
    compressed = list(tmp_path.glob("127.0.0.1.log*.gz"))
    campaign.ledger.update({"files compressed": len(compressed), "ms, p99": p99 * 1000, "ms, worst": found[-1] * 1000})
    assert compressed
    assert p99 < PATIENCE
