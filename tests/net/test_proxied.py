"""Connections that proxies bring: the client they name is who is admitted, limited, logged and answered."""

import socket
import struct

import pytest

from multid.net.proxied import WAIT
from tests.conftest import Bench

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 25\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n"
    + struct.pack("!BBH", 0x21, 0x11, 15)
    + socket.inet_aton("192.0.2.7")
    + socket.inet_aton("198.51.100.1")
    + struct.pack("!HH", 51000, 25)
    + b"\x04\0\0"
)
BEHIND = {"proxy_protocol": {"from": ["127.0.0.0/8"]}}
TELLS_PEER = {"reply": "{peer}", "unit": "chunk"}


@pytest.mark.parametrize("header", [V1, V1.replace(b"\r", b""), V2])
def test_the_client_is_whom_the_proxy_names_however_the_header_arrives(bench: Bench, header: bytes) -> None:
    service = bench.serve("responder", **BEHIND, **TELLS_PEER)
    for size in (1, 7, len(header)):
        client = bench.connect(service)
        for start in range(0, len(header), size):
            client.send(header[start : start + size])
            bench.loop.turn()
        client.send(b"?")
        assert bench.read(client, 15) == b"192.0.2.7:51000"


def test_what_comes_with_the_header_is_not_lost(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND)
    client = bench.connect(service)
    client.send(V1 + b"at once")
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(client) == b"at once"
    assert service.counters.received_bytes == 7


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2[:12] + b"\x20\0\0\0"])
def test_a_proxy_that_speaks_for_itself_is_the_client(bench: Bench, header: bytes) -> None:
    service = bench.serve("responder", **BEHIND, **TELLS_PEER)
    client = bench.connect(service)
    client.send(header + b"?")
    name = "{}:{}".format(*client.getsockname()).encode()
    assert bench.read(client, len(name)) == name


def test_the_named_client_is_held_to_the_rules(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND, deny=["192.0.2.0/24"])
    client = bench.connect(service)
    client.send(V1)
    assert bench.read_all(client) == b""
    assert service.counters.rejected["access"] == 1


def test_who_is_no_proxy_is_a_client_and_its_header_is_its_own_business(bench: Bench) -> None:
    service = bench.serve("echo", proxy_protocol={"from": ["192.0.2.0/24"]})
    client = bench.connect(service)
    client.send(V1)
    assert bench.read(client, len(V1)) == V1
    assert next(iter(service.connections)).peer.host == "127.0.0.1"


def test_a_proxy_without_a_header_is_cut_off_and_told_of_once(bench: Bench, logged) -> None:
    service = bench.serve("echo", **BEHIND)
    for number in range(3):
        client = bench.connect(service)
        client.send(b"EHLO \x1b[31mclient\r\n")
        assert bench.read_all(client) == b""
        assert service.counters.rejected["proxy"] == number + 1
    assert service.counters.connections_total == 0
    lines = [event for event in logged if event.get("why") == "no PROXY header"]
    assert len(lines) == 1
    assert bench.runtime.descriptors.taken == 0


def test_a_proxy_that_says_nothing_is_cut_off_in_time(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND)
    client = bench.connect(service)
    client.send(V1[:20])
    bench.loop.until(lambda: service.arriving)
    bench.loop.advance(WAIT - 1)
    assert service.arriving
    bench.loop.advance(1)
    assert bench.read_all(client) == b""
    assert not service.arriving


def test_a_health_check_that_closes_at_once_or_resets_is_counted(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND)
    bench.connect(service).close()
    bench.loop.until(lambda: service.counters.rejected["proxy"] == 1)
    client = bench.connect(service)
    bench.loop.until(lambda: service.arriving)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    bench.loop.until(lambda: service.counters.rejected["proxy"] == 2)
    assert not service.arriving
    assert bench.runtime.descriptors.taken == 0


def test_connections_without_a_header_yet_are_bounded_too(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND, limits={"connections": 2})
    clients = [bench.connect(service) for _ in range(3)]
    assert bench.read_all(clients[2]) == b""
    assert service.counters.rejected["connections"] == 1
    assert len(service.arriving) == 2


def test_a_service_that_stops_waits_for_no_header(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND)
    client = bench.connect(service)
    bench.loop.until(lambda: service.arriving)
    bench.loop.result(service.stopService())
    assert bench.read_all(client) == b""
    assert bench.runtime.descriptors.taken == 0


def test_a_reload_changes_who_is_a_proxy(bench: Bench) -> None:
    service = bench.serve("echo", **BEHIND)
    bench.retune(service, listen="tcp:0:interface=127.0.0.1")
    client = bench.connect(service)
    client.send(V1)
    assert bench.read(client, len(V1)) == V1
