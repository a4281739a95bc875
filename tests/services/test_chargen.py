"""Chargen (RFC 864)."""

import socket

import pytest
from pydantic import ValidationError

from multid.services.chargen import CHARACTERS, ChargenConfig, ring
from tests.conftest import Bench

LINE = "".join(map(chr, range(0x20, 0x7F)))


def expected(count: int, width: int = 72) -> bytes:
    endless = LINE * 8
    return "".join(endless[start % 95 : start % 95 + width] + "\r\n" for start in range(count)).encode()


def test_the_ring_holds_all_95_printable_characters_and_returns_to_its_beginning() -> None:
    assert len(CHARACTERS) == 95
    assert ring(72) == expected(95)
    assert ring(72).split(b"\r\n")[94].startswith(b"~ !")


@pytest.mark.parametrize("width", [1, 72, 94, 95, 96, 510])
def test_lines_of_any_width_go_on_over_the_end_of_a_block(bench: Bench, width: int) -> None:
    client = bench.connect(bench.serve("chargen", width=width))
    lines = 3 * 32768 // width + 300
    wanted = expected(lines, width)
    assert bench.read(client, len(wanted)) == wanted


@pytest.mark.parametrize("width", [0, 511])
def test_a_width_has_bounds(width: int) -> None:
    with pytest.raises(ValidationError):
        ChargenConfig(listen="tcp:19", width=width)


def test_what_the_peer_says_is_ignored_also_that_it_says_no_more(bench: Bench) -> None:
    service = bench.serve("chargen")
    client = bench.connect(service)
    client.send(b"stop")
    client.shutdown(socket.SHUT_WR)
    assert bench.read(client, 200000) == expected(2800)[:200000]
    client.close()
    bench.loop.until(lambda: not service.connections)


def test_a_peer_that_does_not_read_is_not_written_for(bench: Bench) -> None:
    service = bench.serve("chargen")
    bench.connect(service, buffer=4096)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    bench.loop.until(lambda: transport.pending)
    for _ in range(50):
        bench.loop.turn()
    assert 0 < transport.pending <= 65536 + 32768


def test_other_connections_have_their_turns(bench: Bench) -> None:
    service = bench.serve("chargen")
    clients = [bench.connect(service) for _ in range(5)]
    bench.loop.until(lambda: len(service.connections) == 5)
    for _ in range(20):
        bench.loop.turn()
    sent = [transport.sent_bytes for transport in service.connections]
    assert min(sent) > 0
    assert max(sent) - min(sent) <= 65536
    assert len(clients) == 5


def test_the_end_of_the_service_is_the_end_of_the_stream(bench: Bench) -> None:
    service = bench.serve("chargen")
    client = bench.connect(service)
    assert bench.read(client, 100)
    stopping = service.stopService()
    assert bench.read_all(client)
    client.close()
    bench.loop.result(stopping)


@pytest.mark.parametrize("size", [0, 1, 72, 73, 74, 511, 512, 513, 65507])
def test_a_datagram_is_as_long_as_the_request_and_at_most_512(bench: Bench, size: int) -> None:
    service = bench.serve("chargen", listen="udp:0:interface=127.0.0.1")
    client = bench.connect(service)
    for turn in range(2):
        client.send(b"x" * size)
        assert bench.receive(client) == expected(100)[turn * 74 :][: min(size, 512)]
