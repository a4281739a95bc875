"""Many connections behind one descriptor of the reactor: each is read, paused and ended for itself."""

import socket
import struct
from typing import Any

from twisted.internet import main
from twisted.python.failure import Failure

from multid.net import readers
from multid.services.echo import Echo
from tests.conftest import Bench

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def test_the_reactor_sees_one_descriptor_for_all(bench: Bench) -> None:
    service = bench.serve("echo")
    clients = [bench.connect(service) for _ in range(5)]
    bench.loop.until(lambda: service.counters.connections == 5)
    ours = [reader for reader in bench.loop.getReaders() if reader in {service.readers, *service.connections}]
    assert ours == [service.readers]
    assert service.readers.logPrefix() == "echo"
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    assert [bench.read(client, 1) for client in clients] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_turn_reads_so_many_and_the_rest_have_the_next(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(readers, "_A_TURN", 2)
    service = bench.serve("echo")
    for client in [bench.connect(service) for _ in range(3)]:
        client.send(b"x")
    bench.loop.until(lambda: service.counters.connections == 3)
    service.counters.received_bytes = 0
    service.readers.doRead()
    assert service.counters.received_bytes == 2
    service.readers.doRead()
    assert service.counters.received_bytes == 3


def test_a_paused_connection_is_not_read_until_it_is_resumed(bench: Bench) -> None:
    service = bench.serve("echo")
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    transport.pauseProducing()
    transport.pauseProducing()
    client.send(b"x")
    bench.loop.turn()
    assert service.counters.received_bytes == 0
    transport.resumeProducing()
    transport.resumeProducing()
    assert bench.read(client, 1) == b"x"


def test_one_that_is_paused_by_another_in_the_same_turn_is_not_read(bench: Bench, monkeypatch: Any) -> None:
    service = bench.serve("echo")
    clients = [bench.connect(service) for _ in range(2)]
    bench.loop.until(lambda: service.counters.connections == 2)

    def only_me(self: Echo, data: bytes) -> None:
        for transport in service.connections - {self.transport}:
            transport.pauseProducing()

    monkeypatch.setattr(Echo, "dataReceived", only_me)
    for client in clients:
        client.send(b"x")
    bench.loop.turn()
    assert service.counters.received_bytes == 1


def test_a_fault_of_a_protocol_is_logged_and_ends_its_own_connection_only(
    bench: Bench, monkeypatch: Any, logged: list[dict[str, Any]]
) -> None:
    service = bench.serve("echo")
    clients = [bench.connect(service) for _ in range(2)]
    bench.loop.until(lambda: service.counters.connections == 2)
    echo = Echo.dataReceived

    def faulty(self: Echo, data: bytes) -> None:
        if data == b"bad":
            raise ValueError(data)
        echo(self, data)

    monkeypatch.setattr(Echo, "dataReceived", faulty)
    clients[0].send(b"bad")
    clients[1].send(b"good")
    assert bench.read_all(clients[0]) == b""
    assert bench.read(clients[1], 4) == b"good"
    assert service.counters.connections == 1
    assert [event["log_failure"].type for event in logged if event.get("log_failure")] == [ValueError]


def test_what_was_sent_before_a_reset_is_read(bench: Bench) -> None:
    service = bench.serve("discard")
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.send(b"x" * 1000)
    client.close()
    bench.loop.until(lambda: not service.connections)
    assert (service.counters.received_bytes, transport.end) == (1000, "reset")


def test_the_end_of_the_reactor_ends_what_is_read(bench: Bench) -> None:
    service = bench.serve("echo")
    client = bench.connect(service)
    bench.loop.until(lambda: service.connections)
    service.readers.connectionLost(Failure(main.CONNECTION_LOST))
    assert not service.connections
    assert client.recv(1) == b""


def test_a_stopped_service_has_given_the_descriptor_back(bench: Bench) -> None:
    service = bench.serve("echo")
    bench.loop.result(service.stopService())
    assert service.readers not in bench.loop.getReaders()
    assert service.readers._epoll.closed
