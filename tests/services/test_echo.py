"""Echo (RFC 862): the wire; back-pressure and half-close are in tests/net."""

import pytest

from tests.conftest import Bench


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"b", b"c"], [bytes(range(256)) * 1000]])
def test_every_octet_comes_back_in_order(bench: Bench, pieces: list[bytes]) -> None:
    client = bench.connect(bench.serve("echo"))
    for piece in pieces:
        client.send(piece)
        assert bench.read(client, len(piece)) == piece


def test_a_datagram_comes_back_whole(bench: Bench) -> None:
    client = bench.connect(bench.serve("echo", listen="udp:0:interface=127.0.0.1"))
    client.send(b"one\r\ntwo\0three")
    assert bench.receive(client) == b"one\r\ntwo\0three"
