"""Datagrams: any size, whole, answered from where they were asked, and only where an answer does no harm."""

import errno
import socket
import struct

import pytest

from multid.net import ancillary
from multid.net.datagram import _DATAGRAMS_A_TURN
from multid.net.service import NetworkService
from tests.conftest import Bench


def port(bench: Bench, service: NetworkService) -> int:
    return bench.address(service)[1]


def asking(bench: Bench, host: str, port: int, *, source: str = "", source_port: int = 0) -> socket.socket:
    """Return a UDP client connected to an address, from any or a certain address of its own."""
    client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    bench.clients.append(client)
    if source or source_port:
        client.bind((source, source_port))
    client.connect((host, port))
    client.setblocking(False)
    return client


def gets_nothing(bench: Bench, service: NetworkService, client: socket.socket, data: bytes, reason: str) -> None:
    before = service.counters.dropped[reason]
    client.send(data)
    bench.loop.until(lambda: service.counters.dropped[reason] == before + 1)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    assert service.counters.sent_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 512, 1472, 2049, 8193, 65507])
@pytest.mark.parametrize("listen", ["udp:0:interface=127.0.0.1", "udp6:0:interface=\\:\\:1", "udp:0", "udp6:0"])
def test_echo_of_every_size_is_whole(bench: Bench, listen: str, size: int) -> None:
    service = bench.serve("echo", listen=listen)
    client = asking(bench, "::1" if "6" in listen.partition(":")[0] else "127.0.0.1", port(bench, service))
    data = bytes(range(256)) * 256
    client.send(data[:size])
    assert bench.receive(client) == data[:size]
    assert service.counters.received_bytes == service.counters.sent_bytes == size


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.77.0.1"])
def test_an_answer_leaves_from_the_address_that_was_asked(bench: Bench, host: str) -> None:
    service = bench.serve("echo", listen="udp:0")
    client = asking(bench, host, port(bench, service))
    client.send(b"who?")
    assert bench.receive(client) == b"who?"


def test_a_socket_of_both_families_answers_ipv4_as_ipv4(bench: Bench) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        bench.runtime.sockets._inherited.append(("both", both))
        service = bench.serve("responder", listen="systemd-udp:name=both", unit="datagram", reply="{peer}")
        client = asking(bench, "127.0.0.2", port(bench, service))
        client.send(b"")
        assert bench.receive(client).decode() == "{}:{}".format(*client.getsockname())
        bench.close()


def test_a_denied_peer_gets_nothing_and_is_counted(bench: Bench) -> None:
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1", deny=["127.0.0.0/8"])
    gets_nothing(bench, service, bench.connect(service), b"hello?", "access")


def test_a_datagram_from_a_port_that_is_served_here_gets_no_answer(bench: Bench) -> None:
    """Two services on loopback, and a datagram that one of them seems to have sent to the other."""
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1")
    other = bench.serve("daytime", listen="udp:0:interface=127.0.0.2")
    client = asking(bench, "127.0.0.1", port(bench, service), source="127.0.0.3", source_port=port(bench, other))
    gets_nothing(bench, service, client, b"loop", "looping-port")


def test_a_port_that_is_too_low_gets_no_answer(bench: Bench) -> None:
    service = bench.serve("echo", listen="udp:0", limits={"lowest_port": 65535})
    listener = next(iter(service.bindings.values())).listener
    listener._received(b"x", [], ("192.0.2.7", 65534), 0.0)
    assert service.counters.dropped["low-port"] == 1


def test_a_port_no_longer_served_is_a_client_like_any_other(bench: Bench) -> None:
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1")
    other = bench.serve("daytime", listen="udp:0:interface=127.0.0.2")
    freed = port(bench, other)
    bench.loop.result(other.stopService())
    bench.runtime.sockets.keep([(binding.address, service.name) for binding in service.bindings.values()])
    client = asking(bench, "127.0.0.1", port(bench, service), source="127.0.0.3", source_port=freed)
    client.send(b"free")
    assert bench.receive(client) == b"free"


def test_what_was_sent_to_a_multicast_group_is_not_answered(bench: Bench) -> None:
    service = bench.serve("echo", listen="udp:0")
    listener = next(iter(service.bindings.values())).listener
    listener.socket.setsockopt(
        socket.IPPROTO_IP,
        socket.IP_ADD_MEMBERSHIP,
        socket.inet_aton("224.1.2.3") + socket.inet_aton("127.0.0.1"),
    )
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bench.clients.append(client)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    client.sendto(b"everybody", ("224.1.2.3", port(bench, service)))
    bench.loop.until(lambda: service.counters.dropped["destination"] == 1)
    assert service.counters.sent_bytes == 0


def test_a_turn_takes_a_bounded_number_of_datagrams_however_small(bench: Bench) -> None:
    service = bench.serve("discard", listen="udp:0:interface=127.0.0.1")
    client = bench.connect(service)
    for _ in range(_DATAGRAMS_A_TURN + 1):
        client.send(b"")
    next(iter(service.bindings.values())).listener.doRead()
    assert service.counters.datagrams == _DATAGRAMS_A_TURN
    bench.loop.until(lambda: service.counters.datagrams == _DATAGRAMS_A_TURN + 1)


def test_a_turn_ends_when_it_has_taken_its_octets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multid.net.datagram._OCTETS_A_TURN", 1000)
    service = bench.serve("discard", listen="udp:0:interface=127.0.0.1")
    client = bench.connect(service)
    for size in (500, 499, 1, 1):
        client.send(bytes(size))
    listener = next(iter(service.bindings.values())).listener
    listener.doRead()
    assert service.counters.datagrams == 3
    listener.doRead()
    assert service.counters.datagrams == 4


class FailingSocket:
    """A socket whose calls fail."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self._number = number

    def fileno(self) -> int:
        return self._sock.fileno()

    def recvfrom(self, size: int) -> tuple:
        if self._number == errno.ECONNREFUSED:
            raise OSError(self._number, "failed")
        return self._sock.recvfrom(size)

    def sendto(self, *arguments: object) -> int:
        raise OSError(self._number, "failed")


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOBUFS, "send"), (errno.ECONNREFUSED, "receive")])
def test_an_error_of_the_network_is_counted_and_stops_nothing(bench: Bench, number: int, reason: str) -> None:
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1")
    listener = next(iter(service.bindings.values())).listener
    client = bench.connect(service)
    plain = listener.socket
    listener.socket = FailingSocket(plain, number)
    client.send(b"lost")
    bench.loop.until(lambda: service.counters.dropped[reason])
    listener.socket = plain
    if reason == "receive":
        assert bench.receive(client) == b"lost"
    client.send(b"found")
    assert bench.receive(client) == b"found"


def test_a_fault_of_ours_costs_its_datagram_and_one_traceback(bench: Bench, monkeypatch, logged) -> None:
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1")
    client = bench.connect(service)
    with monkeypatch.context() as patched:
        patched.setattr(service, "received", lambda data, peer: 1 / 0)
        client.send(b"one")
        client.send(b"two")
        bench.loop.until(lambda: service.counters.errors == 2)
    client.send(b"three")
    assert bench.receive(client) == b"three"
    assert len([event for event in logged if "log_failure" in event]) == 1


def test_what_is_not_answered_is_logged_in_one_line_not_one_each(bench: Bench, logged) -> None:
    service = bench.serve("daytime", listen="udp:0:interface=127.0.0.1", deny=["127.0.0.0/8"])
    client = bench.connect(service)
    for _ in range(50):
        client.send(b"")
    bench.loop.until(lambda: service.counters.dropped["access"] == 50)
    for _ in range(30):
        bench.loop.advance(1)
    lines = [event for event in logged if event.get("total")]
    assert [(event["service"], event["total"], event["reasons"]) for event in lines] == [("daytime", 50, "access 50")]


def test_the_kernel_tells_when_a_datagram_came(bench: Bench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        size = ancillary.ask_for(receiver, timestamps=True)
        receiver.sendto(b"x", receiver.getsockname())
        _, told, _, _ = receiver.recvmsg(10, size)
    assert ancillary.arrival(told) > 1_700_000_000 * 10**9
    assert ancillary.arrival([]) is None


def test_addresses_of_this_host_are_remembered_in_bounded_memory() -> None:
    origins = ancillary.Origins()
    for number in range(1000):
        packed = struct.pack("=iII", 1, number, number)
        assert origins.of([(socket.IPPROTO_IP, ancillary.IP_PKTINFO, packed)])
    assert len(origins._known) <= ancillary._REMEMBERED
    assert origins.of([(socket.SOL_SOCKET, 1, b"other")]) == []


def test_only_a_link_local_address_keeps_its_interface() -> None:
    def turned(host: str) -> int:
        packed = socket.inet_pton(socket.AF_INET6, host) + struct.pack("=I", 7)
        reply = ancillary.Origins().of([(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed)])
        return struct.unpack("=16sI", reply[0][2])[1] if reply else None

    assert turned("fe80::1") == 7
    assert turned("2001:db8::1") == 0
    assert turned("ff02::1") is None
