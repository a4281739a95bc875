"""The NTP packet: requests a server answers, and every octet of the answer."""

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.clock.packet import (
    ClockState,
    Request,
    encode_reply,
    is_before,
    parse_request,
    short,
    timestamp,
)

ORIGIN = b"\xde\xad\xbe\xef\x01\x02\x03\x04"
STATE = ClockState(0, 3, -24, 0.5, 0.25, b"\x0a\x00\x00\x01", 1_700_000_000 * 10**9)


def request(version=4, mode=3, poll=6, transmit=ORIGIN, tail=b""):
    return bytes([version << 3 | mode, 0, poll & 255, 0xFA]) + bytes(36) + transmit + tail


def ns(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_clients_of_every_version_are_answered_in_their_version(version):
    asked = parse_request(request(version), 40000)
    assert asked == Request(version, 3, 6, ORIGIN)
    reply = encode_reply(asked, STATE, 1, 2)
    assert (len(reply), reply[0]) == (48, version << 3 | 4)


@pytest.mark.parametrize("version", [0, 5, 6, 7])
def test_other_versions_are_not_answered(version):
    assert parse_request(request(version), 40000) is None


@pytest.mark.parametrize("mode", [0, 2, 4, 5, 6, 7])
@pytest.mark.parametrize("version", [2, 3, 4])
def test_modes_that_are_no_question_are_not_answered(version, mode):
    assert parse_request(request(version, mode), 40000) is None


def test_a_symmetric_active_peer_is_answered_passive():
    assert encode_reply(parse_request(request(mode=1), 123), STATE, 1, 2)[0] == 4 << 3 | 2


def test_version_1_has_no_modes_and_its_clients_do_not_ask_from_the_port_of_servers():
    assert parse_request(request(1, 0), 40000).mode == 3
    assert parse_request(request(1, 0), 123) is None
    assert parse_request(request(1, 4), 40000) is None


@pytest.mark.parametrize("size", range(48))
def test_a_short_packet_is_no_request(size):
    assert parse_request(request()[:size], 40000) is None


def test_what_follows_the_header_is_ignored():
    assert parse_request(request(tail=b"\0" * 20), 40000) == parse_request(request(), 40000)


@pytest.mark.parametrize("poll", [-128, -6, -2, 0, 17, 127])
def test_poll_is_signed_and_copied(poll):
    reply = encode_reply(parse_request(request(poll=poll), 40000), STATE, 1, 2)
    assert struct.unpack_from("b", reply, 2)[0] == poll


def test_every_field_of_the_reply():
    reply = encode_reply(Request(4, 3, 6, ORIGIN), STATE, 0x0102030405060708, 0x1112131415161718)
    assert reply == (
        bytes([0x24, 3, 6, 0xE8])
        + bytes.fromhex("00008000 00004000 0a000001")
        + struct.pack("!II", 1_700_000_000 + 2208988800, 0)
        + ORIGIN
        + bytes(range(1, 9))
        + bytes(range(0x11, 0x19))
    )


def test_an_unsynchronised_clock_has_no_reference_time():
    reply = encode_reply(Request(4, 3, 6, ORIGIN), ClockState(3, 0, -20, 0, 20, b"INIT", None), 1, 2)
    assert reply[0] >> 6 == 3
    assert reply[1] == 0
    assert reply[12:24] == b"INIT" + bytes(8)


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ((1970, 1, 1), 2208988800),
        ((2036, 2, 7, 6, 28, 15), 0xFFFFFFFF),
        ((2036, 2, 7, 6, 28, 16), 0),
        ((2036, 2, 7, 6, 28, 17), 1),
        ((2100, 1, 1), 4102444800 + 2208988800 - (1 << 32)),
    ],
)
def test_seconds_wrap_into_the_next_era(moment, seconds):
    assert timestamp(ns(*moment)) == seconds << 32


def test_the_fraction_is_exact_to_its_last_bit():
    assert timestamp(500_000_000) & 0xFFFFFFFF == 0x80000000
    assert timestamp(999_999_999) & 0xFFFFFFFF == (999_999_999 << 32) // 10**9


def test_order_holds_across_the_end_of_an_era():
    last, first = timestamp(ns(2036, 2, 7, 6, 28, 16) - 1), timestamp(ns(2036, 2, 7, 6, 28, 16))
    assert is_before(last, first)
    assert not is_before(first, last)
    assert not is_before(first, first)


@pytest.mark.parametrize(
    ("seconds", "packed"),
    [(0, 0), (1, 0x10000), (1 / 65536, 1), (1e-9, 1), (1.5, 0x18000), (-1, 0), (1e9, 0xFFFFFFFF)],
)
def test_short_format_rounds_up_and_never_overflows(seconds, packed):
    assert short(seconds) == packed


@given(st.binary(max_size=120), st.integers(0, 65535))
def test_any_octets_are_a_request_or_none_and_the_answer_is_never_longer(data, port):
    asked = parse_request(data, port)
    if asked is not None:
        reply = encode_reply(asked, STATE, 1, 2)
        assert len(reply) <= len(data)
        assert reply[24:32] == data[40:48]
        assert reply[0] & 7 in {2, 4}
