r"""One JSON object a line (RFC 8259): `time service peer text`, and what was parsed. Pure.

`text` is the line as it was received. A line with octets that are not valid in its charset is no Unicode text; then
`text` is its escaped form, and `escaped` is true. Beyond what JSON demands, DEL, C1, separators and bidi controls are
written as `\uXXXX`, so that the file is safe to look at. A parser's findings stand beside `text`; a JSON line's own
members are those of `fields`, untouched, so none can pass for one of ours.
"""

import json
import re
from json.encoder import encode_basestring as _quoted
from typing import Any

from multid.lines import bulk, syslog
from multid.lines.escape import BEYOND_ASCII, CONTROLS, escape
from multid.lines.record import Received, Record, stamp
from multid.lines.scan import absence

_ALLOWED = bytes(octet for octet in range(256) if octet not in CONTROLS and octet not in b'"\\') + b"\n"
_are_plain = absence(CONTROLS.replace(b"\n", b"") + b'"\\')
_SHORT = {8: b"\\b", 9: b"\\t", 12: b"\\f", 13: b"\\r"}
_UNSAFE = re.compile("\x7f|" + BEYOND_ASCII.pattern)
_BLANKS = re.compile("[\t\r\n]")


def render(batch: Received) -> bytes:
    """Return an object for each line, each followed by LF."""
    begin = _members(batch.time, batch.source.service, batch.source.peer)[:-1]
    return _all_at_once(batch, begin.encode()) or _one_by_one(batch, begin)


def _one_by_one(batch: Received, begin: str) -> bytes:
    text = "".join([_render_one(record, begin) for record in batch.records])
    if not text.isascii() or "\x7f" in text:
        text = _UNSAFE.sub(_unicode_escape, text)
    return text.encode()


def parse(line: bytes) -> dict[str, Any]:
    """Return a line that is a JSON object as `fields`, its own text, or `parse_error`."""
    try:
        text = line.decode()
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return {"parse_error": f"not JSON: {error}"}
    if not isinstance(value, dict):
        return {"parse_error": "not a JSON object"}
    return {"fields": JsonText(text.strip())}


class JsonText(str):
    """Text that is JSON and is to be written as it stands."""

    __slots__ = ()


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _all_at_once(batch: Received, begin: bytes) -> bytes | None:
    """Render lines that need no looking at one by one."""
    if batch.source.parse not in {None, syslog.parse}:
        return None
    block = _plain_text(batch)
    if block is None:
        return None
    found = b"" if _are_plain(block) else set(block.translate(None, _ALLOWED))
    block = block.replace(b"\\", b"\\\\") if 0x5C in found else block
    block = block.replace(b'"', b'\\"') if 0x22 in found else block
    controls = set(found) - {0x5C, 0x22}
    if batch.source.parse is not None:
        return None if controls else bulk.render(begin + b',"text":', block, int(batch.time // 86400))
    for octet in controls:
        block = block.replace(bytes((octet,)), _SHORT.get(octet, b"\\u%04x" % octet))
    begin += b',"text":"'
    between = b'"}\n' + begin
    body = block.replace(b"\n", between)
    batch.count = (len(body) - len(block)) // (len(between) - 1)  # else a fifth of all time
    return b"".join((begin, memoryview(body)[: -len(begin)]))


def _plain_text(batch: Received) -> bytes | None:
    """Return the lines of a batch as a block of UTF-8 in which at most ASCII must be escaped, if they are that."""
    lines = batch.lines
    if lines.mark or lines.separate is not None or batch.source.charset != "utf-8":
        return None
    if not lines.block.isascii():
        try:
            if BEYOND_ASCII.search(lines.block.decode()):
                return None
        except UnicodeDecodeError:
            return None
    return lines.block


def _members(when: float, service: str, peer: str) -> str:
    return json.dumps({"time": stamp(when), "service": service, "peer": peer}, separators=(",", ":"))


def _render_one(record: Record, begin: str) -> str:
    """Return one object; `begin` is what all of a batch begin with."""
    charset = record.source.charset
    parts = [begin, _text("text", record.line, charset)]
    if record.mark:
        parts.append(f',"mark":"{record.mark}"')
    for name, found in record.fields.items():
        kind = type(found)
        if kind is str:
            parts.append(f',"{name}":{_quoted(found)}')
        elif kind is int:
            parts.append(f',"{name}":{found}')
        elif kind is bytes:
            parts.append(_text(name, found, charset))
        elif kind is JsonText:
            parts.append(f',"{name}":{_BLANKS.sub(" ", found)}')
        else:
            parts.append(f',"{name}":{json.dumps(found, ensure_ascii=False, separators=(",", ":"))}')
    parts.append("}\n")
    return "".join(parts)


def _text(name: str, octets: bytes, charset: str) -> str:
    """Return a member whose value is text as received; or that escaped, and `escaped`."""
    try:
        return f',"{name}":{_quoted(octets.decode(charset))}'
    except UnicodeDecodeError:
        escaped = ',"escaped":true' if name == "text" else ""
        return f',"{name}":{_quoted(escape(octets, charset).decode())}{escaped}'


def _unicode_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
