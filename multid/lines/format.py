"""How lines stand in a file: all of a batch at once, each record ended by one LF. Pure.

`text` and `raw` cost little more than copying. `rfc5424` is a syslog message for each line: one that was parsed as such
keeps its fields, any other gets the time of its arrival, the peer as its host and the service as its application.
"""

import re
from collections.abc import Callable
from typing import Literal

from multid.lines import jsonlines, syslog
from multid.lines.escape import escape, mark
from multid.lines.record import Received, Record, stamp

Format = Literal["text", "json", "raw", "rfc5424"]

_NOT_PRINTABLE = re.compile(r"[^!-~]")


def text(batch: Received) -> bytes:
    """Return `TIME SERVICE PEER TEXT` for each line."""
    return _prefixed(batch, f"{stamp(batch.time)} {batch.source.service} {batch.source.peer} ".encode())


def raw(batch: Received) -> bytes:
    """Return each line as received and LF."""
    return batch.lines.block


def rfc5424(batch: Received) -> bytes:
    """Return a syslog message for each line."""
    if batch.source.parse is None:
        return _prefixed(batch, header_of(batch))
    return b"".join([_escaped_message(record) for record in batch.records])


FORMATS: dict[Format, Callable[[Received], bytes]] = {
    "text": text,
    "json": jsonlines.render,
    "raw": raw,
    "rfc5424": rfc5424,
}


def header_of(batch: Received) -> bytes:
    """Return what stands before each line of a batch that is not parsed, to make it a syslog message."""
    return _header(batch.time, syslog.DEFAULT_PRI, batch.source.host, batch.source.service)


def message(record: Record) -> bytes:
    """Return one line as a syslog message, its text as it was received."""
    fields = record.fields
    if "pri" not in fields:
        pri, host, app, procid, text = syslog.DEFAULT_PRI, record.source.host, record.source.service, "-", record.line
    elif syslog.is_5424(fields, record.line):
        return record.line
    else:
        pri, host = fields["pri"], record.host
        app, procid = fields.get("app", "-"), fields.get("procid", "-")
        text = fields.get("message", record.line)
    when = fields.get("timestamp", record.time)
    return _header(when, pri, host, app, procid) + text


def _escaped_message(record: Record) -> bytes:
    whole, charset = message(record), record.source.charset
    text = record.fields.get("message", record.line)
    head = whole.removesuffix(text)
    # A backslash has a meaning of its own in structured data.
    safe_head = escape(head, charset).replace(b"\\\\", b"\\")
    return safe_head + escape(text, charset) + (mark(record.mark) if record.mark else b"") + b"\n"


def _header(when: float | str, pri: int, host: str, app: str, procid: str = "-") -> bytes:
    at = when if isinstance(when, str) else stamp(when)
    return f"<{pri}>1 {at} {_name(host, 255)} {_name(app, 48)} {_name(procid, 128)} - - ".encode()


def _name(value: str, longest: int) -> str:
    return _NOT_PRINTABLE.sub("_", value[:longest]) or "-"


def _prefixed(batch: Received, prefix: bytes) -> bytes:
    block = batch.escaped
    # The LF that ends the last line yields one prefix too many: the first line's, moved to the front.
    body = block.replace(b"\n", b"\n" + prefix)
    batch.count = (len(body) - len(block)) // len(prefix)  # counting them otherwise would cost as much as the rest
    return b"".join((prefix, memoryview(body)[: -len(prefix)]))
