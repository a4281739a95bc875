"""Fixtures for every test."""

import os
import signal
import socket
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import globalLogPublisher

from multid.kinds import discover
from multid.net.service import NetworkService
from tests.loop import Loop, runtime

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every process of a test would compile all of multid anew

settings.register_profile(
    "multid", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no defect
settings.load_profile("multid")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("campaigns")
    group.addoption("--campaign", choices=["short", "long"], help="run the campaigns, and how long")
    group.addoption("--seed", type=int, help="replay a campaign with the seed that it printed")
    group.addoption("--broken", help="run the campaigns against a build broken so (tests/campaigns/broken/)")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.campaign:
        config.option.markexpr = "campaign"


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores it for what it starts in the background, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is installed (CI), a test that is skipped has failed."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped: {report.longrepr}"
    return report


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """Every event logged during the test."""
    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


class Bench:
    """Services on sockets of their own, driven by a loop, and clients that talk to them."""

    def __init__(self, loop: Loop, state_dir: Any) -> None:
        self.loop = loop
        self.runtime = runtime(loop, state_dir)
        self.clients: list[socket.socket] = []
        self.services: list[NetworkService] = []

    def serve(self, kind: str, **keys: Any) -> NetworkService:
        """Start a service of the keys given; by default on any port of loopback."""
        found = discover()[kind]
        keys.setdefault("listen", "tcp:0:interface=127.0.0.1")
        config = found.config(type=kind, **keys)
        service = found.build(kind, config, self.runtime)
        change = self.loop.result(service.prepare(config, strict=False))
        change.commit()
        service.startService()
        self.services.append(service)
        return service

    def retune(self, service: NetworkService, **keys: Any) -> None:
        config = type(service.config)(type=service.config.type, **keys)
        self.loop.result(service.prepare(config, strict=True)).commit()
        service.listen()

    def address(self, service: NetworkService, number: int = 0) -> Any:
        binding = list(service.bindings.values())[number]
        assert binding.listener is not None, binding.problem
        return binding.listener.socket.getsockname()

    def connect(self, service: NetworkService, number: int = 0, *, buffer: int | None = None) -> socket.socket:
        """Return a connected client socket, non-blocking: TCP, UDP or UNIX as the address is."""
        listener = list(service.bindings.values())[number].listener
        assert listener is not None
        kind = listener.socket.type & ~socket.SOCK_NONBLOCK
        client = socket.socket(listener.socket.family, kind)
        self.clients.append(client)
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.connect(listener.socket.getsockname())
        client.setblocking(False)
        return client

    def read(self, client: socket.socket, size: int) -> bytes:
        """Read exactly so many octets, or fewer at the end of the stream."""
        data = bytearray()

        def enough() -> bool:
            try:
                chunk = client.recv(min(65536, size - len(data)))
            except BlockingIOError:
                return False
            data.extend(chunk)
            return not chunk or len(data) >= size

        self.loop.until(enough)
        return bytes(data)

    def read_all(self, client: socket.socket) -> bytes:
        """Read to the end of the stream."""
        return self.read(client, 1 << 40)

    def exchange(self, client: socket.socket, sent: bytes) -> bytes:
        """Send it all, then the end of the stream, reading all the while; return what came up to the peer's end."""
        received, offset = bytearray(), 0

        def done() -> bool:
            nonlocal offset
            if offset < len(sent):
                try:
                    offset += client.send(sent[offset : offset + 65536])
                except BlockingIOError:
                    pass
                if offset == len(sent):
                    client.shutdown(socket.SHUT_WR)
            try:
                chunk = client.recv(65536)
            except BlockingIOError:
                return False
            received.extend(chunk)
            return not chunk

        self.loop.until(done, within=30)
        return bytes(received)

    def receive(self, client: socket.socket) -> bytes:
        """Receive one datagram."""
        received: list[bytes] = []

        def got() -> bool:
            try:
                received.append(client.recv(65536))
            except BlockingIOError:
                return False
            return True

        self.loop.until(got)
        return received[0]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for service in self.services:
            if service.running:
                stopping = service.stopService()
                service.abort()
                self.loop.result(stopping)
        self.loop.turn()
        self.runtime.sockets.keep(())


@pytest.fixture
def bench(loop: Loop, tmp_path: Any) -> Iterator[Bench]:
    bench = Bench(loop, tmp_path)
    yield bench
    bench.close()
