r"""Received octets as text that is safe to print, one line a record, and back. Pure.

`\\` stands for a backslash and `\xHH` for each octet of what must not stand in a log: control characters (C0, DEL, C1),
line and paragraph separators and bidi controls of Unicode, and octets that are not valid in the charset. All else is
the same text in UTF-8. So nothing that was received can end a record, move a cursor or hide what follows, and
`unescape` gives the received octets back.

Nothing received is ever escaped as `\(`; that is free for what we say about a line: see `mark`.
"""

import codecs
import re
from collections.abc import Callable

from multid.lines.scan import absence

CONTROLS = bytes([*range(32), 127])
_ALLOWED = bytes(octet for octet in range(256) if octet not in CONTROLS and octet != 0x5C)
_ALLOWED_AND_LF = _ALLOWED + b"\n"
_SHORT = 512  # octets up to which looking for what must be escaped is as fast as finding that there is nothing
_is_plain = absence(CONTROLS + b"\\")
_are_plain = absence(CONTROLS.replace(b"\n", b"") + b"\\")
_EACH = [bytes((octet,)) if octet < 128 and octet in _ALLOWED else b"\\x%02x" % octet for octet in range(256)]
_EACH[0x5C] = b"\\\\"

_BIDI_AND_SEPARATORS = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_INVALID = "\udc80-\udcff"  # as `surrogateescape` gives them
BEYOND_ASCII = re.compile(f"[\x80-\x9f{_BIDI_AND_SEPARATORS}{_INVALID}]")
_ALL = re.compile(f"[\\\\\x00-\x1f\x7f-\x9f{_BIDI_AND_SEPARATORS}{_INVALID}]")
_ALL_BUT_LF = re.compile(f"[\\\\\x00-\x09\x0b-\x1f\x7f-\x9f{_BIDI_AND_SEPARATORS}{_INVALID}]")
_LEADS = (b"\xc2", b"\xd8", b"\xe2")  # how all in BEYOND_ASCII begins that is valid UTF-8

_ESCAPED = re.compile(rb"\\(?:(\\)|x([0-9a-fA-F]{2})|\([a-z]+\))")


def escape(data: bytes, charset: str = "utf-8") -> bytes:
    """Return the escaped text, in UTF-8, of any octets."""
    return _escape_ascii(data, _ALLOWED, _is_plain) if charset == "utf-8" else _escape_other(data, charset, _ALL)


def escape_lines(block: bytes, charset: str = "utf-8") -> bytes:
    """Do the same for many lines at once: each LF stays what it is, the end of a line."""
    if charset == "utf-8":
        return _escape_ascii(block, _ALLOWED_AND_LF, _are_plain)
    try:
        return _transcode(block, charset, _ALL_BUT_LF)
    except ValueError:
        return b"\n".join([_escape_other(line, charset, _ALL) for line in block.split(b"\n")])


def unescape(text: bytes, charset: str = "utf-8") -> bytes:
    """Return the octets that were received; marks are taken out, and what is no escape stays as it is."""
    if charset == "utf-8":
        return _ESCAPED.sub(_unescape_one, text)
    out = bytearray()
    at = 0
    for match in _ESCAPED.finditer(text):
        out += text[at : match.start()].decode().encode(charset)
        out += _unescape_one(match)
        at = match.end()
    return bytes(out) + text[at:].decode().encode(charset)


def mark(name: str) -> bytes:
    r"""Return what stands behind a line that is not as it was sent: `\(split)`, `\(truncated)`, `\(unterminated)`."""
    return b"\\(%b)" % name.encode()


def check_charset(name: str) -> str:
    """Return Python's name of a charset whose ASCII octets mean ASCII; LookupError says why another cannot be used."""
    codec = codecs.lookup(name).name
    ascii_octets = bytes(range(128))
    for octets in (*(ascii_octets[at : at + 1] for at in range(128)), ascii_octets):
        try:
            text = octets.decode(codec)
            plain = text.encode() == text.encode(codec) == octets
        except UnicodeError:
            plain = False
        if not plain:
            raise LookupError(f"{name!r} is not a charset in which lines and control characters can be told")
    return codec


def _unescape_one(match: re.Match[bytes]) -> bytes:
    backslash, octet = match.groups()
    return backslash or (bytes.fromhex(octet.decode()) if octet else b"")


def _escape_ascii(data: bytes, allowed: bytes, is_plain: Callable[[bytes], bool]) -> bytes:
    if len(data) < _SHORT or not is_plain(data):
        found = data.translate(None, allowed)
        if found:
            data = data.replace(b"\\", b"\\\\")
            for octet in set(found) - {0x5C}:
                data = data.replace(bytes((octet,)), _EACH[octet])
    return data if data.isascii() else _escape_beyond_ascii(data)


def _escape_beyond_ascii(data: bytes) -> bytes:
    text = data.decode("utf-8", "backslashreplace")  # which is how we write what is not valid, in C
    if any(lead in data for lead in _LEADS):
        text = BEYOND_ASCII.sub(_hex("utf-8"), text)
    return text.encode()


def _escape_other(data: bytes, charset: str, unsafe: re.Pattern[str]) -> bytes:
    try:
        return _transcode(data, charset, unsafe)
    except ValueError:  # two spellings of one character, which would not come back as they were
        return b"".join([_EACH[octet] for octet in data])


def _transcode(data: bytes, charset: str, unsafe: re.Pattern[str]) -> bytes:
    text = data.decode(charset, "surrogateescape")
    if text.encode(charset, "surrogateescape") != data:
        raise ValueError("these octets would not come back as they were")
    return unsafe.sub(_hex(charset), text).encode()


def _hex(charset: str) -> Callable[[re.Match[str]], str]:
    def replacement(match: re.Match[str]) -> str:
        if match[0] == "\\":
            return "\\\\"
        return "".join(f"\\x{octet:02x}" for octet in match[0].encode(charset, "surrogateescape"))

    return replacement
