"""Killed at random under load, with a next hop that comes and goes: every mail answered 250 arrives."""

import random
import signal
import smtplib
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.process import Multid

SENDERS = 6


class Sink:
    """A next hop that counts what it takes, and refuses for now about one mail in five."""

    def __init__(self, seed: int) -> None:
        self.taken: Counter[str] = Counter()
        self.damaged: set[str] = set()
        self._random = random.Random(seed)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self._random.random() < 0.2:
            return "451 4.3.0 Not now"
        name = envelope.content.split(b"Subject: ")[1].split(b"\r\n")[0].decode()
        body = envelope.content.partition(b"\r\n\r\n")[2]
        if body != text(name).encode():
            self.damaged.add(name)
        self.taken[name] += 1
        return "250 2.0.0 Ok"


def text(name: str) -> str:
    return f".{name}\r\n..\r\n" + f"{name}\r\n" * 300


class Load:
    """Clients that send without end, and remember what was acknowledged and what was begun."""

    def __init__(self, port: int, number: int) -> None:
        self.acknowledged: set[str] = set()
        self._port = port
        self._prefix = number
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _send(self, sender: int) -> None:
        count = 0
        while not self._stop.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, timeout=20) as client:
                    while not self._stop.is_set():
                        count += 1
                        name = f"{self._prefix}-{sender}-{count}"
                        mail = f"Subject: {name}\r\n\r\n{text(name)}"
                        client.sendmail("a@example.org", ["b@example.com"], mail)
                        self.acknowledged.add(name)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def configuration(port: int) -> dict[str, Any]:
    relay = {
        "type": "smtp",
        "listen": "tcp:0:interface=127.0.0.1",
        "hostname": "relay.test",
        "routes": [{"via": f"smtp://127.0.0.1:{port}", "tls": "none"}],
        "retry": {"schedule": ["250ms"], "jitter": 0},
    }
    return {"services": {"relay": relay}}


def drain(folder: Path, config: dict[str, Any], wanted: set[str], sink: Sink) -> str:
    """Run until everything that is wanted has arrived; return the log."""
    with Multid(folder, config) as daemon:
        deadline = time.monotonic() + 60
        daemon.wait_for(r"relay: \S+ up on", 60)
        while wanted - set(sink.taken) and time.monotonic() < deadline:
            time.sleep(0.05)
        daemon.stop()
        return daemon.log


@pytest.mark.campaign
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_every_mail_that_was_acknowledged_arrives(tmp_path: Path, number: int, request: pytest.FixtureRequest) -> None:
    rounds = 200 if request.config.getoption("--campaign", "short") == "long" else 10
    rng = random.Random(1)
    sink = Sink(2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        config = configuration(port)
        acknowledged: set[str] = set()
        for round_ in range(rounds):
            with Multid(tmp_path, config) as daemon:
                daemon.wait_for(r"relay: \S+ up on", 60)
                load = Load(daemon.port("relay"), round_)
                time.sleep(rng.uniform(0.1, 1.0))
                daemon.stop(number)
                load.stop()
                acknowledged |= load.acknowledged
        drain(tmp_path, config, acknowledged, sink)
    finally:
        controller.stop()
    lost = acknowledged - set(sink.taken)
    twice = {name for name, count in sink.taken.items() if count > 1}
    print(f"{rounds} ends: {len(acknowledged)} acknowledged, {len(lost)} lost, {len(twice)} twice")
    assert not lost
    assert not sink.damaged
    if number == signal.SIGTERM:
        assert not twice
    else:
        assert len(twice) <= 10 * rounds, "more than what can have been on its way"
