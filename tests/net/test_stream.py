"""Connections: admission, half-close, back-pressure, timeouts, draining."""

import errno
import random
import socket
import struct
from datetime import UTC, datetime
from typing import Any

import pytest

from multid.services.echo import Echo
from tests.conftest import Bench


def test_echo_returns_all_after_half_close(bench: Bench) -> None:
    service = bench.serve("echo")
    client = bench.connect(service)
    sent = random.Random(1).randbytes(4 << 20)
    assert bench.exchange(client, sent) == sent
    bench.loop.until(lambda: service.counters.connections == 0)
    assert service.counters.received_bytes == service.counters.sent_bytes == len(sent)
    assert service.counters.connections_total == 1


def test_a_client_that_never_reads_is_bounded_and_then_reset(bench: Bench) -> None:
    service = bench.serve("echo", timeouts={"stall": "30s"})
    client = bench.connect(service, buffer=4096)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    for _ in range(2000):
        try:
            client.send(b"x" * 65536)
        except BlockingIOError:
            pass
        bench.loop.turn()
    assert 0 < transport.pending <= 4 * 65536
    bench.loop.advance(1)
    bench.loop.advance(28)
    assert service.connections
    bench.loop.advance(2)
    bench.loop.until(lambda: not service.connections)
    assert transport.end == "stall"


def test_an_idle_connection_ends_at_its_time_and_not_before(bench: Bench) -> None:
    service = bench.serve("echo", timeouts={"idle": "10s"})
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    client.send(b"x")
    assert bench.read(client, 1) == b"x"
    bench.loop.advance(1)
    bench.loop.advance(9.5)
    assert service.connections
    bench.loop.advance(1)
    assert bench.read_all(client) == b""
    assert transport.end == "idle"


def test_lifetime_ends_a_busy_connection(bench: Bench) -> None:
    service = bench.serve("echo", timeouts={"lifetime": "5s"})
    client = bench.connect(service)
    for _ in range(4):
        client.send(b"x")
        assert bench.read(client, 1) == b"x"
        bench.loop.advance(1)
    assert service.connections
    bench.loop.advance(1.5)
    bench.loop.until(lambda: not service.connections)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"limits": {"connections": 2}}, "connections"),
        ({"limits": {"per_peer": 2}}, "per_peer"),
        ({"limits": {"rate": "2/s"}}, "rate"),
    ],
)
def test_the_limit_lets_in_as_many_as_it_says_and_counts_the_rest(bench: Bench, keys: dict, reason: str) -> None:
    service = bench.serve("echo", **keys)
    clients = [bench.connect(service) for _ in range(3)]
    bench.loop.until(lambda: service.counters.rejected[reason] == 1)
    assert service.counters.connections == 2
    assert bench.read_all(clients[2]) == b""
    clients[0].send(b"in")
    assert bench.read(clients[0], 2) == b"in"


def test_a_place_is_free_again_when_a_connection_ends(bench: Bench) -> None:
    service = bench.serve("echo", limits={"per_peer": 1})
    first = bench.connect(service)
    bench.loop.until(lambda: service.connections)
    first.close()
    bench.loop.until(lambda: not service.connections)
    second = bench.connect(service)
    second.send(b"y")
    assert bench.read(second, 1) == b"y"


def test_allow_and_deny_by_the_longest_match(bench: Bench) -> None:
    service = bench.serve("echo", allow=["127.0.0.1/32"], deny=["127.0.0.0/8"])
    client = bench.connect(service)
    client.send(b"z")
    assert bench.read(client, 1) == b"z"
    bench.retune(service, listen="tcp:0:interface=127.0.0.1", deny=["127.0.0.0/8"])
    refused = bench.connect(service)
    assert bench.read_all(refused) == b""
    assert service.counters.rejected["access"] == 1
    client.send(b"still in")
    assert bench.read(client, 8) == b"still in"


def test_draining_sends_what_is_written_and_ends(bench: Bench) -> None:
    service = bench.serve("echo")
    client = bench.connect(service)
    client.send(b"last words")
    bench.loop.until(lambda: service.counters.received_bytes == 10)
    stopping = service.stopService()
    assert bench.read_all(client) == b"last words"
    client.close()
    bench.loop.result(stopping)


def test_who_has_asked_when_the_service_stops_gets_the_answer(bench: Bench) -> None:
    service = bench.serve("echo")
    client = bench.connect(service)
    bench.loop.until(lambda: service.counters.connections == 1)
    client.send(b"asked")
    client.shutdown(socket.SHUT_WR)
    stopping = service.stopService()
    assert bench.read_all(client) == b"asked"
    client.close()
    bench.loop.result(stopping)


def test_a_client_that_does_not_close_when_we_have_is_closed_after_a_while(bench: Bench) -> None:
    service = bench.serve("daytime")
    client = bench.connect(service)
    assert bench.read_all(client)
    bench.loop.advance(1)
    assert service.counters.connections == 1
    bench.loop.advance(1)
    bench.loop.until(lambda: service.counters.connections == 0)


def test_what_a_client_says_too_late_costs_it_nothing_of_the_answer(bench: Bench) -> None:
    """Octets come, but unread when a socket is closed are answered by a reset, which may outrun the answer."""
    service = bench.serve("chargen")
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    bench.loop.until(lambda: transport.pending)
    transport.application.finish()
    for _ in range(3):
        client.send(b"x" * 1000)
        bench.loop.turn()
    assert len(bench.read_all(client)) == transport.sent_bytes > 0
    client.close()
    bench.loop.until(lambda: not service.connections)
    assert transport.end == "done"
    assert transport.received_bytes == 3000


def test_a_reset_while_reading_is_paused_is_noticed(bench: Bench) -> None:
    service = bench.serve("discard")
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    transport.stopReading()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    bench.loop.advance(1)
    bench.loop.advance(1)
    assert not service.connections
    assert transport.end == "reset"


def test_unix_sockets_have_their_mode_and_are_served(bench: Bench, tmp_path) -> None:
    path = tmp_path / "echo.sock"
    service = bench.serve("echo", listen=f"unix:{path}:mode=600")
    assert path.stat().st_mode & 0o777 == 0o600
    client = bench.connect(service)
    client.send(b"local")
    assert bench.read(client, 5) == b"local"
    transport = next(iter(service.connections))
    assert transport.peer.host == "unix"


def test_ipv6_and_ipv4_are_two_sockets(bench: Bench) -> None:
    service = bench.serve("echo", listen=["tcp6:0:interface=\\:\\:1", "tcp:0:interface=127.0.0.1"])
    for number in (0, 1):
        client = bench.connect(service, number)
        client.send(b"v")
        assert bench.read(client, 1) == b"v"


def test_a_taken_port_is_tried_again_until_it_is_free(bench: Bench) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = bench.serve("echo", listen=f"tcp:{port}:interface=127.0.0.1")
        assert service.state == "down"
        problem = service.status()["listen"][0]["problem"]
        assert f"cannot listen on tcp:{port}:interface=127.0.0.1: in use by" in problem
        bench.loop.advance(1)
        assert service.state == "down"
    bench.loop.advance(2)
    assert service.state == "up"
    client = bench.connect(service)
    client.send(b"up")
    assert bench.read(client, 2) == b"up"


def test_at_the_budget_of_descriptors_accepting_pauses_and_goes_on(bench: Bench) -> None:
    bench.runtime.descriptors.limit = bench.runtime.descriptors.reserve + 2
    service = bench.serve("echo")
    clients = [bench.connect(service) for _ in range(3)]
    bench.loop.until(lambda: service.counters.connections == 2)
    for _ in range(5):
        bench.loop.turn()
    assert service.counters.connections == 2
    clients[0].close()
    clients[2].send(b"waited")
    assert bench.read(clients[2], 6) == b"waited"


def test_a_connection_is_recorded_where_the_file_asks_for_it(bench: Bench, logged) -> None:
    service = bench.serve("echo", record=True)
    client = bench.connect(service)
    client.send(b"four")
    assert bench.read(client, 4) == b"four"
    bench.loop.now += 2.5
    client.close()
    bench.loop.until(lambda: not service.connections)
    (record,) = [event for event in logged if event.get("event") == "connection"]
    start = datetime.fromisoformat(record["start"])
    assert abs((datetime.now(UTC) - start).total_seconds()) < 60
    assert {name: record[name] for name in ("service", "duration", "received_bytes", "sent_bytes", "end")} == {
        "service": "echo",
        "duration": 2.5,
        "received_bytes": 4,
        "sent_bytes": 4,
        "end": "done",
    }
    assert record["peer"].startswith("127.0.0.1:")


def test_a_refused_connection_is_recorded_with_its_reason(bench: Bench, logged) -> None:
    service = bench.serve("echo", record=True, deny=["127.0.0.0/8"])
    bench.read_all(bench.connect(service))
    assert [event["end"] for event in logged if event.get("event") == "connection"] == ["refused: access"]


def test_nothing_is_recorded_where_nobody_asks(bench: Bench, logged) -> None:
    service = bench.serve("echo")
    bench.connect(service).close()
    bench.loop.until(lambda: service.counters.connections_total and not service.connections)
    assert not [event for event in logged if event.get("event") == "connection"]


def test_connections_have_keepalive_and_no_delay_from_their_listener(bench: Bench) -> None:
    service = bench.serve("echo")
    bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]
    for level, option, value in options:
        assert transport.socket.getsockopt(level, option) == value


@pytest.mark.parametrize("method", ["connected", "connectionMade"])
def test_a_fault_of_ours_ends_its_connection_only(bench: Bench, monkeypatch, logged, method: str) -> None:
    service = bench.serve("echo")
    owner = service if method == "connected" else Echo
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, lambda *arguments: 1 / 0)
        client = bench.connect(service)
        with pytest.raises(ConnectionResetError):
            bench.read_all(client)
    assert service.counters.errors == 1
    assert len([event for event in logged if "log_failure" in event]) == 1
    other = bench.connect(service)
    other.send(b"served")
    assert bench.read(other, 6) == b"served"
    assert service.admission.connections == bench.runtime.descriptors.taken == 1


class Refusing:
    """A listening socket at which accept(2) fails."""

    def __init__(self, sock: socket.socket, number: int, times: int) -> None:
        self._sock, self._number, self._times = sock, number, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def accept(self) -> tuple:
        if self._times:
            self._times -= 1
            raise OSError(self._number, "refused")
        return self._sock.accept()


def test_a_kernel_without_descriptors_is_left_alone_for_a_while_and_told_of_once(bench: Bench, logged) -> None:
    service = bench.serve("echo")
    listener = next(iter(service.bindings.values())).listener
    listener.socket = Refusing(listener.socket, errno.EMFILE, 2)
    client = bench.connect(service)
    client.send(b"patience")
    for _ in range(20):
        bench.loop.turn()
    assert service.counters.connections == 0
    assert listener.socket._times == 1
    bench.loop.advance(1)
    bench.loop.turn()
    bench.loop.advance(1)
    assert bench.read(client, 8) == b"patience"
    assert len([event for event in logged if "cannot accept" in event["log_format"]]) == 1
    assert bench.runtime.descriptors.taken == 1


def test_a_connection_that_went_before_it_was_accepted_is_passed_over(bench: Bench) -> None:
    service = bench.serve("echo")
    listener = next(iter(service.bindings.values())).listener
    listener.socket = Refusing(listener.socket, errno.ECONNABORTED, 3)
    client = bench.connect(service)
    client.send(b"next")
    assert bench.read(client, 4) == b"next"


def test_a_transport_knows_both_its_ends(bench: Bench, tmp_path) -> None:
    service = bench.serve("echo", listen=["tcp:0:interface=127.0.0.1", f"unix:{tmp_path}/s"])
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    assert (transport.getPeer().host, transport.getPeer().port) == client.getsockname()
    assert (transport.getHost().host, transport.getHost().port) == client.getpeername()
    assert str(transport.peer) in repr(transport)
    client.close()
    bench.loop.until(lambda: not service.connections)
    bench.connect(service, 1)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    assert transport.getHost().name == f"{tmp_path}/s".encode()
    assert transport.getPeer().name is None


def test_a_fault_in_what_is_done_each_second_is_not_the_end_of_timeouts(bench: Bench, monkeypatch) -> None:
    service = bench.serve("echo", timeouts={"idle": "10s"})
    client = bench.connect(service)
    bench.loop.until(lambda: service.connections)
    with monkeypatch.context() as patched:
        patched.setattr(service, "tick", lambda now: 1 / 0)
        bench.loop.advance(1)
    bench.loop.advance(11)
    bench.loop.advance(1)
    assert bench.read_all(client) == b""


def test_a_service_that_stops_cannot_be_resumed(bench: Bench) -> None:
    service = bench.serve("echo")
    client = bench.connect(service)
    client.send(b"x")
    assert bench.read(client, 1) == b"x"
    stopping = service.stopService()
    service.resume()
    late = bench.connect(service)
    for _ in range(5):
        bench.loop.turn()
    assert service.counters.connections_total == 1
    late.close()
    client.close()
    bench.loop.result(stopping)


def test_a_unix_socket_takes_what_is_meant_for_tcp_without_a_word(bench: Bench, tmp_path) -> None:
    service = bench.serve("echo", listen=f"unix:{tmp_path}/echo.sock")
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    transport.setTcpNoDelay(True)
    client.send(b"x")
    assert bench.read(client, 1) == b"x"


def test_who_waits_when_an_address_is_given_up_is_served(bench: Bench) -> None:
    service = bench.serve("echo", limits={"per_peer": 70})
    service.pause()
    clients = [bench.connect(service) for _ in range(70)]
    bench.runtime.sockets.keep(())
    assert service.counters.connections == 70
    for client in clients:
        client.send(b"here")
        assert bench.read(client, 4) == b"here"


def test_all_that_has_come_by_the_end_is_read_of_however_many(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr("multid.net.readers._A_TURN", 2)
    service = bench.serve("echo")
    clients = [bench.connect(service) for _ in range(7)]
    for client in clients:
        client.send(b"asked")
    bench.runtime.sockets.keep(())
    stopping = service.stopService()
    for client in clients:
        assert bench.read_all(client) == b"asked"
        client.close()
    bench.loop.result(stopping)
