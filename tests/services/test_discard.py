"""Discard (RFC 863)."""

import socket

import pytest

from tests.conftest import Bench


def test_nothing_comes_back_and_our_end_is_answered_by_an_end(bench: Bench) -> None:
    service = bench.serve("discard")
    client = bench.connect(service)
    client.send(b"x" * 100_000)
    bench.loop.until(lambda: service.counters.received_bytes == 100_000)
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(client) == b""
    assert service.counters.sent_bytes == 0


def test_a_datagram_is_taken_and_never_answered(bench: Bench) -> None:
    service = bench.serve("discard", listen="udp:0:interface=127.0.0.1")
    client = bench.connect(service)
    client.send(b"hello")
    bench.loop.until(lambda: service.counters.datagrams == 1)
    with pytest.raises(BlockingIOError):
        client.recv(1)
