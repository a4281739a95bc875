"""Lines as a stream for the next hop: counted (RFC 6587 3.4.1) or ended by LF. Pure."""

import re
from typing import Literal

from multid.lines import format as formats
from multid.lines.escape import escape
from multid.lines.record import Received

StreamFraming = Literal["octet-counted", "lf"]
ForwardFormat = Literal["rfc5424", "raw"]

_LENGTH = re.compile(rb"(\d{1,9}) ")


def messages(batch: Received, form: ForwardFormat) -> list[bytes]:
    """Return each line as it is sent, its text as it was received."""
    if form == "raw":
        return list(batch.lines)
    if batch.source.parse is not None:
        return [formats.message(record) for record in batch.records]
    header = formats.header_of(batch)
    return [header + line for line in batch.lines]


def encode(batch: Received, form: ForwardFormat, framing: StreamFraming) -> bytes:
    """Return all lines of a batch as they go over the stream; where LF ends a message, one that holds LF is escaped."""
    if framing == "octet-counted":
        return b"".join([b"%d %b" % (len(message), message) for message in messages(batch, form)])
    if form == "raw" and batch.lines.separate is None:
        return batch.lines.block
    return b"".join([_one_line(message) + b"\n" for message in messages(batch, form)])


def _one_line(message: bytes) -> bytes:
    return escape(message) if b"\n" in message else message


def whole(data: bytes, framing: StreamFraming, upto: int | None = None) -> int:
    """Return how many octets at the beginning of data, of the first `upto`, are whole messages."""
    end = len(data) if upto is None else upto
    if framing == "lf":
        return data.rfind(b"\n", 0, end) + 1
    at = 0
    while length := _LENGTH.match(data, at):
        following = length.end() + int(length[1])
        if following > end:
            break
        at = following
    return at
