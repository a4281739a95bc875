"""The NTP packet of RFC 5905 section 7.3, as far as a server needs it. Pure.

Timestamps are 64-bit numbers, 32 bits of seconds since 1900 and 32 of fraction, taken modulo 2^64: era 1 begins on
2036-02-07 at 06:28:16 UTC and nothing here knows the difference. What the client calls its transmit timestamp is copied
as the eight octets that came, for only the client can tell what they mean.
"""

import struct
from dataclasses import dataclass

SIZE = 48
SECONDS_1900_TO_1970 = 2208988800

UNSYNCHRONISED = 3
"""The leap indicator of a clock that should not be believed."""

RESERVED, SYMMETRIC_ACTIVE, SYMMETRIC_PASSIVE, CLIENT, SERVER = range(5)
NTP_PORT = 123

_HEADER = struct.Struct("!BBbbII4sQ8sQQ")
_SECOND = 1_000_000_000
MASK = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Request:
    """What a server needs of a client's packet."""

    version: int
    mode: int
    poll: int
    transmit: bytes


@dataclass(frozen=True)
class ClockState:
    """What a server says of its clock: delay and dispersion in seconds, the reference time in ns since 1970 or None."""

    leap: int
    stratum: int
    precision: int
    root_delay: float
    root_dispersion: float
    reference_id: bytes
    reference_time: int | None


def parse_request(data: bytes, port: int) -> Request | None:
    """Return the request that a datagram from a port is, None if a server has nothing to say to it.

    That is a client's request or a symmetric active peer's, of versions 1 to 4. Version 1 has no modes: a reserved one
    is a client's unless it comes from the port of servers. Everything after the first 48 octets is ignored.
    """
    if len(data) < SIZE:
        return None
    version, mode = data[0] >> 3 & 7, data[0] & 7
    if version == 1 and mode == RESERVED and port != NTP_PORT:
        mode = CLIENT
    if not 1 <= version <= 4 or mode not in {SYMMETRIC_ACTIVE, CLIENT}:
        return None
    poll = data[2] - 256 if data[2] > 127 else data[2]
    return Request(version, mode, poll, data[40:48])


def encode_reply(request: Request, clock: ClockState, receive: int, transmit: int) -> bytes:
    """Return the server's packet of 48 octets; `receive` and `transmit` are NTP timestamps."""
    mode = SYMMETRIC_PASSIVE if request.mode == SYMMETRIC_ACTIVE else SERVER
    return _HEADER.pack(
        clock.leap << 6 | request.version << 3 | mode,
        clock.stratum,
        request.poll,
        clock.precision,
        short(clock.root_delay),
        short(clock.root_dispersion),
        clock.reference_id,
        0 if clock.reference_time is None else timestamp(clock.reference_time),
        request.transmit,
        receive,
        transmit,
    )


def timestamp(unix_ns: int) -> int:
    """Return the NTP timestamp of a time in nanoseconds since 1970."""
    return ((unix_ns + SECONDS_1900_TO_1970 * _SECOND << 32) // _SECOND) & MASK


def is_before(one: int, other: int) -> bool:
    """Whether a timestamp is earlier than another that is less than half an era away."""
    return (one - other) & MASK >= 1 << 63


def short(seconds: float) -> int:
    """Return seconds in the short format, 16 bits of seconds and 16 of fraction, rounded up and held to its range."""
    return min(max(-int(-seconds * 65536 // 1), 0), 0xFFFFFFFF)
