"""Datagrams: any size, whole, answered from where they were asked."""

import pytest

from tests.conftest import Bench


@pytest.mark.parametrize("size", [0, 1, 512, 1472, 2049, 8193, 65507])
def test_echo_of_every_size_is_whole(bench: Bench, size: int) -> None:
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1")
    client = bench.connect(service)
    data = bytes(range(256)) * 256
    client.send(data[:size])
    assert bench.receive(client) == data[:size]


def test_a_denied_peer_gets_nothing_and_is_counted(bench: Bench) -> None:
    service = bench.serve("echo", listen="udp:0:interface=127.0.0.1", deny=["127.0.0.0/8"])
    bench.connect(service).send(b"hello?")
    bench.loop.until(lambda: service.counters.dropped["access"] == 1)
    assert service.counters.sent_bytes == 0
