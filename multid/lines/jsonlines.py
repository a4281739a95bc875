r"""One JSON object a line (RFC 8259): `time service peer text`, and what was parsed. Pure.

`text` is the line as it was received. A line with octets that are not valid in its charset is no Unicode text; then
`text` is its escaped form, and `escaped` is true. Beyond what JSON demands, DEL, C1, separators and bidi controls are
written as `\uXXXX`, so that the file is safe to look at. A parser's findings stand beside `text`; a JSON line's own
members are those of `fields`, untouched, so none can pass for one of ours.
"""

import json
import re
from typing import Any

from multid.lines.escape import BEYOND_ASCII, CONTROLS, escape
from multid.lines.record import Received, Record, stamp

_ALLOWED = bytes(octet for octet in range(256) if octet not in CONTROLS and octet not in b'"\\') + b"\n"
_SHORT = {8: b"\\b", 9: b"\\t", 12: b"\\f", 13: b"\\r", 34: b'\\"'}
_UNSAFE = re.compile("\x7f|" + BEYOND_ASCII.pattern)
_BLANKS = re.compile("[\t\r]")


def render(batch: Received) -> bytes:
    """Return an object for each line, each followed by LF."""
    plain = _all_at_once(batch)
    if plain is not None:
        return plain
    return b"".join([_render_one(record) for record in batch.records])


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


def _all_at_once(batch: Received) -> bytes | None:
    """Render lines that need no looking at one by one: plain UTF-8, not parsed, not marked."""
    lines, source = batch.lines, batch.source
    if source.parse is not None or lines.mark or lines.separate is not None or source.charset != "utf-8":
        return None
    block = lines.block
    if not block.isascii():
        try:
            if BEYOND_ASCII.search(block.decode()):
                return None
        except UnicodeDecodeError:
            return None
    found = set(block.translate(None, _ALLOWED))
    if 0x5C in found:
        block = block.replace(b"\\", b"\\\\")
    for octet in found - {0x5C}:
        block = block.replace(bytes((octet,)), _SHORT.get(octet, b"\\u%04x" % octet))
    begin = _members(batch.time, batch.source.service, batch.source.peer)[:-1].encode() + b',"text":"'
    body = block.replace(b"\n", b'"}\n' + begin)
    return b"".join((begin, memoryview(body)[: -len(begin)]))


def _members(when: float, service: str, peer: str) -> str:
    return json.dumps({"time": stamp(when), "service": service, "peer": peer}, separators=(",", ":"))


def _render_one(record: Record) -> bytes:
    source = record.source
    value: dict[str, Any] = {"time": stamp(record.time), "service": source.service, "peer": source.peer}
    value |= _text(record.line, source.charset)
    if record.mark:
        value["mark"] = record.mark
    raw = ""
    for name, found in record.fields.items():
        if isinstance(found, JsonText):
            raw = f',"{name}":{_BLANKS.sub(" ", found)}'
        elif isinstance(found, bytes):
            value[name] = _text(found, source.charset)["text"]
        else:
            value[name] = found
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (_UNSAFE.sub(_unicode_escape, text[:-1] + raw) + "}\n").encode()


def _text(line: bytes, charset: str) -> dict[str, Any]:
    try:
        return {"text": line.decode(charset)}
    except UnicodeDecodeError:
        return {"text": escape(line, charset).decode(), "escaped": True}


def _unicode_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
