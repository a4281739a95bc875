"""Time (RFC 868)."""

import struct
import time

import pytest

from multid.services.time import encode
from tests.conftest import Bench


@pytest.mark.parametrize(
    ("unix_time", "octets"),
    [
        (-2208988800, b"\0\0\0\0"),
        (0, struct.pack("!I", 2208988800)),
        (2085978495, b"\xff\xff\xff\xff"),
        (2085978496, b"\0\0\0\0"),
        (2085978496.9, b"\0\0\0\0"),
        (4102444800, struct.pack("!I", 4102444800 + 2208988800 - (1 << 32))),
    ],
)
def test_the_seconds_since_1900_wrap_in_2036(unix_time: float, octets: bytes) -> None:
    assert encode(unix_time) == octets


def test_exactly_four_octets_then_the_end(bench: Bench) -> None:
    client = bench.connect(bench.serve("time"))
    said = bench.read_all(client)
    assert len(said) == 4
    assert abs(struct.unpack("!I", said)[0] - 2208988800 - time.time()) < 5


@pytest.mark.parametrize("question", [b"", b"what time is it?"])
def test_any_datagram_is_answered_by_four_octets(bench: Bench, question: bytes) -> None:
    client = bench.connect(bench.serve("time", listen="udp:0:interface=127.0.0.1"))
    client.send(question)
    assert len(bench.receive(client)) == 4
