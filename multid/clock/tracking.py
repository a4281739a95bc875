"""What chronyd says of the clock it disciplines: the reply to `tracking` of its command protocol, version 6. Pure.

Of chrony's `candm.h` only what a server passes on is read: reference, stratum, leap, root delay and dispersion.
A request is padded to the length of its reply.
"""

import struct
from dataclasses import dataclass

PORT = 323

_VERSION = 6
_REQUEST, _REPLY = 1, 2
_TRACKING = 33
_TRACKING_REPLY = 5
_SIZE = 104
_SECOND = 1_000_000_000
_REPLY_HEADER = struct.Struct("!BBxxHHHxxxxxxIxxxxxxxx")
_BODY = struct.Struct("!4s20xHHIII24xII4x")
_NO_HIGH_SECONDS = 0x7FFFFFFF


@dataclass(frozen=True)
class Tracking:
    """The clock as chronyd sees it; its own stratum, not its server's; delay and dispersion in seconds."""

    reference_id: bytes
    stratum: int
    leap: int
    reference_time: int
    root_delay: float
    root_dispersion: float


def encode_request(sequence: int) -> bytes:
    """Return a request for the tracking report."""
    return struct.pack("!BBxxHHI", _VERSION, _REQUEST, _TRACKING, 0, sequence).ljust(_SIZE, b"\0")


def parse_reply(data: bytes, sequence: int) -> Tracking | None:
    """Return the report that answers the request of a sequence number; None if it does not, or says nothing of use."""
    if len(data) < _SIZE:
        return None
    version, kind, command, reply, status, answered = _REPLY_HEADER.unpack_from(data)
    if (version, kind, command, reply, status, answered) != (_VERSION, _REPLY, _TRACKING, _TRACKING_REPLY, 0, sequence):
        return None
    reference_id, stratum, leap, high, low, nanoseconds, delay, dispersion = _BODY.unpack_from(data, _REPLY_HEADER.size)
    seconds = low if high == _NO_HIGH_SECONDS else high << 32 | low
    if stratum > 255 or leap > 3 or nanoseconds >= _SECOND:
        return None
    reference_time = seconds * _SECOND + nanoseconds
    return Tracking(reference_id, stratum, leap, reference_time, _float(delay), _float(dispersion))


def _float(packed: int) -> float:
    """Return the value of chrony's float: 7 bits of exponent and 25 of coefficient, both signed."""
    exponent, coefficient = packed >> 25, packed & (1 << 25) - 1
    if exponent >= 1 << 6:
        exponent -= 1 << 7
    if coefficient >= 1 << 24:
        coefficient -= 1 << 25
    return float(coefficient) * 2.0 ** (exponent - 25)
