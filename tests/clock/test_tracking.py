"""Chronyd's tracking report: its packets, and asking for it."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.clock.chronyd import EVERY, VALID, Chronyd
from multid.clock.tracking import Tracking, encode_request, parse_reply


def report(**changes):
    fields = {"stratum": 3, "leap": 1, "high": 0, "low": 0x6B061A1D, "nanoseconds": 5, "delay": 0, "dispersion": 0}
    fields |= changes
    header = struct.pack("!BBxxHHHxxxxxxIxxxxxxxx", 6, 2, 33, 5, 0, 77)
    body = struct.pack(
        "!4s20xHHIII24xII4x",
        b"\xc0\0\2\1",
        *(fields[name] for name in ("stratum", "leap", "high", "low")),
        fields["nanoseconds"],
        fields["delay"],
        fields["dispersion"],
    )
    return header + body


def test_a_report_from_the_wire():
    wire = bytes.fromhex(
        "060200000021000500000000000000000000004d00000000000000007f7f010100000000000000000000000000000000000000000005"
        "0000000000006b061a1d0d679bc7" + "00" * 36
    )
    assert parse_reply(wire, 77) == Tracking(b"\x7f\x7f\1\1", 5, 0, 1795562013224893895, 0.0, 0.0)


@pytest.mark.parametrize(
    ("packed", "value"),
    [(0, 0.0), (0x04800000, 1.0), (0x02800000, 0.5), (0xFA800000, 2.0**-5), (0x03000000, -1.0)],
)
def test_floats_of_chrony(packed, value):
    assert parse_reply(report(delay=packed), 77).root_delay == value


def test_seconds_may_have_no_upper_half():
    assert parse_reply(report(high=0x7FFFFFFF), 77).reference_time == 0x6B061A1D * 10**9 + 5
    assert parse_reply(report(high=1), 77).reference_time == ((1 << 32) + 0x6B061A1D) * 10**9 + 5


@pytest.mark.parametrize("change", [{"stratum": 256}, {"leap": 4}, {"nanoseconds": 10**9}])
def test_a_report_of_nonsense_is_none(change):
    assert parse_reply(report(), 77) is not None
    assert parse_reply(report(**change), 77) is None


@pytest.mark.parametrize("place", [0, 1, 5, 7, 9, 19])
def test_what_answers_something_else_is_none(place):
    wire = bytearray(report())
    wire[place] ^= 1
    assert parse_reply(bytes(wire), 77) is None


@given(st.binary(max_size=300))
def test_any_octets_are_a_report_or_none(data):
    assert parse_reply(data, 77) is None
    parse_reply(report()[:28] + data.ljust(76, b"\0"), 77)


@pytest.fixture
def daemon():
    """A socket that stands for chronyd's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


def asked(loop, daemon):
    def get():
        try:
            return daemon.recvfrom(200)
        except BlockingIOError:
            return None

    return loop.until(get)


def test_chronyd_is_asked_again_and_again_and_believed_for_a_while(loop, daemon):
    chronyd = Chronyd(loop, daemon.getsockname()[1])
    chronyd.start()
    request, client = asked(loop, daemon)
    assert request == encode_request(1)
    assert chronyd.tracking is None
    daemon.sendto(b"nonsense", client)
    daemon.sendto(report()[:16] + struct.pack("!I", 1) + report()[20:], client)
    loop.until(lambda: chronyd.tracking)
    assert chronyd.tracking.stratum == 3
    loop.advance(EVERY)
    assert asked(loop, daemon)[0] == encode_request(2)
    loop.advance(VALID - EVERY - 1)
    assert chronyd.tracking
    loop.advance(1)
    assert chronyd.tracking is None
    chronyd.stop()


def test_nobody_but_chronyd_is_believed(loop, daemon):
    chronyd = Chronyd(loop, daemon.getsockname()[1])
    chronyd.start()
    _, client = asked(loop, daemon)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(report()[:16] + struct.pack("!I", 1) + report()[20:], client)
    for _ in range(5):
        loop.turn()
    assert chronyd.tracking is None
    chronyd.stop()


def test_what_cannot_be_asked_any_more_is_not_believed_any_more(loop, daemon, monkeypatch):
    chronyd = Chronyd(loop, daemon.getsockname()[1])
    chronyd.start()
    _, client = asked(loop, daemon)
    daemon.sendto(report()[:16] + struct.pack("!I", 1) + report()[20:], client)
    loop.until(lambda: chronyd.tracking)
    monkeypatch.setattr(chronyd, "_chronyd", ("127.0.0.1", 0))
    loop.advance(EVERY)
    assert chronyd.tracking is None
    chronyd.stop()


def test_an_address_that_cannot_be_had_leaves_nothing_open(loop, monkeypatch):
    monkeypatch.setattr("multid.clock.chronyd._HOST", "192.0.2.1")
    chronyd = Chronyd(loop)
    with pytest.raises(OSError, match="assign requested address"):
        chronyd.start()
    assert not chronyd.is_asking
    assert chronyd.fileno() == -1


def test_asking_says_nothing_and_ends_with_its_stop_or_the_reactor(loop, daemon, logged):
    chronyd = Chronyd(loop, daemon.getsockname()[1])
    for end in (chronyd.stop, lambda: chronyd.connectionLost(None)):
        chronyd.start()
        asked(loop, daemon)
        chronyd.doRead()
        end()
        assert not chronyd.is_asking
        assert not loop.getReaders()[1:]
        assert not loop.getDelayedCalls()
    assert logged == []
