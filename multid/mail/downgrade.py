r"""Content that a next hop cannot take as it is, in a form that it can (RFC 6152 3, RFC 3030 3, RFC 2045). Pure.

What every hop takes by DATA is lines of at most 998 octets that end in CRLF, without NUL, CR or LF elsewhere, and
8-bit octets only where it has said 8BITMIME. `plan` finds the smallest parts of a mail that are otherwise and gives
these another transfer encoding: text that stays readable becomes quoted-printable, all else base64; over-long lines in
a header are folded where they have a space. Everything else is copied octet for octet, and decoded the new mail is
the old one. A mail that was no MIME becomes one, of an unknown charset (RFC 1428).

`CannotConvertError` where that would not be the same mail: what was signed or encrypted (RFC 1847 2.1), an 8-bit or
malformed header, an encoding nobody knows, parts that are nested too deep.

`plan` sees the whole content; `converted` reads it again span by span and yields blocks, so that of a large mail no
more than a few blocks are in memory while it is sent. Both work for the time that the content's size demands, and
belong into a thread; no step of theirs keeps other threads from running for long.
"""

import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message

from multid.mail.headers import fields_end, parse_fields

MAX_LINE = 998
"""Octets of a line without its CRLF (RFC 5321 4.5.3.1.6)."""

_BLOCK = 64 * 1024
_MAX_DEPTH = 30
_BASE64_LINE = 57
"""Octets that make a line of base64 (76 characters)."""

_UNWRAPPED = rb"\0|\r[^\n]|(?<!\r)\n"
_BINARY = re.compile(_UNWRAPPED)
_BINARY_OR_8BIT = re.compile(rb"[\x80-\xff]|" + _UNWRAPPED)
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_READABLE = bytes(range(0x20, 0x7F)) + b"\r\n\t"
_IDENTITY = {"7bit", "8bit", "binary"}
_ENCODED = {"quoted-printable", "base64"}
_FIXED = {"message/partial", "message/external-body"}
"""Types that may have no encoding, and no part that has one (RFC 2046 5.2.2, 5.2.3)."""

Read = Callable[[int, int], bytes]
"""Gives the octets of a content from one place to another."""


class CannotConvertError(ValueError):
    """No other form of the mail would be the same mail; the text says why, for its sender."""


@dataclass(frozen=True, slots=True)
class Span:
    """Octets of the content and what is done to them: `copy`, `qp`, `base64`, `requote` or `rewrap`."""

    start: int
    end: int
    treatment: str = "copy"


Plan = list[Span | bytes]
"""What the new content is made of, in order: spans of the old one, and octets of our own."""


def is_fit(blocks: Iterable[bytes], *, is_7bit: bool) -> bool:
    """Whether a content, block by block, is such that a hop takes it; `is_7bit` where the hop has no 8BITMIME."""
    unfit = _BINARY_OR_8BIT if is_7bit else _BINARY
    line = b""
    for block in blocks:
        lines = line + block
        if has_long_line(lines) or unfit.search(lines):
            return False
        line = lines[lines.rfind(b"\n") + 1 :]
    return not line.endswith(b"\r")


def has_long_line(content: bytes) -> bool:
    """Whether a line is longer than DATA may carry."""
    start, end = 0, len(content)
    while end - start > MAX_LINE:
        newline = content.rfind(b"\n", start, start + MAX_LINE + 2)
        if newline < 0:
            return end - start > MAX_LINE + 1 or content[-1:] != b"\r"
        start = newline + 1
    return False


def plan(content: bytes, *, is_7bit: bool) -> Plan:
    """Return how a content becomes one that a hop takes; CannotConvertError if it cannot."""
    planner = _Planner(content, is_7bit=is_7bit)
    planner.entity(0, len(content), depth=0)
    return planner.plan


class _Planner:
    def __init__(self, content: bytes, *, is_7bit: bool) -> None:
        self.plan: Plan = []
        self._content = content
        self._is_7bit = is_7bit
        self._identity = "7bit" if is_7bit else "8bit"

    def is_fit(self, start: int, end: int) -> bool:
        """Whether octets can go as they are."""
        return is_fit(_blocks(Span(start, end), self._read), is_7bit=self._is_7bit)

    def _read(self, start: int, end: int) -> bytes:
        return self._content[start:end]

    def entity(self, start: int, end: int, *, depth: int, default: str = "text/plain", is_sealed: bool = False) -> None:
        """Plan a mail or a part of one: header, blank line, body."""
        if self.is_fit(start, end):
            self.plan.append(Span(start, end))
            return
        if is_sealed:
            raise CannotConvertError("a part that is signed or encrypted would have to be changed")
        if depth > _MAX_DEPTH:
            raise CannotConvertError("its parts are nested too deep")
        blank = start
        if not self._content.startswith(b"\r\n", start):
            found = self._content.find(b"\r\n\r\n", start, end)
            blank = end if found < 0 else found + 2
        header = self._content[start:blank]
        if fields_end(header) != len(header) or (self._is_7bit and not header.isascii()) or b"\0" in header:
            raise CannotConvertError("its header is malformed or has characters that are not ASCII")
        self._body(_Header(header, default), min(blank + 2, end), end, depth)

    def _body(self, header: "_Header", start: int, end: int, depth: int) -> None:
        if self.is_fit(start, end):
            self._take(header.folded(), start, end, "copy")
        elif header.kind.startswith("multipart/"):
            self.plan.append(header.encoded_as(self._identity, is_mail=depth == 0) + b"\r\n")
            self._parts(header, start, end, depth)
        elif header.kind in _FIXED:
            raise CannotConvertError(f"{header.kind} cannot be encoded")
        elif header.encoding in _ENCODED:
            treatment = "rewrap" if header.encoding == "base64" else "requote"
            self._take(header.folded(), start, end, treatment)
        elif header.encoding not in _IDENTITY:
            raise CannotConvertError("it has a Content-Transfer-Encoding that is not known")
        elif header.kind in {"message/rfc822", "message/global"}:
            self.plan.append(header.encoded_as(self._identity, is_mail=depth == 0) + b"\r\n")
            self.entity(start, end, depth=depth + 1)
        else:
            is_text = header.kind.startswith("text/") and self._is_readable(start, end)
            encoding = "quoted-printable" if is_text else "base64"
            fields = header.encoded_as(encoding, is_mail=depth == 0)
            self._take(fields, start, end, "qp" if is_text else "base64")

    def _take(self, fields: bytes, start: int, end: int, treatment: str) -> None:
        self.plan += [fields + b"\r\n", Span(start, end, treatment)]

    def _is_readable(self, start: int, end: int) -> bool:
        """Whether most of a text needs no encoding."""
        blocks = _blocks(Span(start, end), self._read)
        odd = sum(len(block.translate(None, _READABLE)) for block in blocks)
        return 5 * odd <= end - start

    def _parts(self, header: "_Header", start: int, end: int, depth: int) -> None:
        """Plan a multipart's body (RFC 2046 5.1.1); what stands before and after the parts goes if it is unfit."""
        is_sealed = header.kind in {"multipart/signed", "multipart/encrypted"}
        default = "message/rfc822" if header.kind == "multipart/digest" else "text/plain"
        begin, part = start, None
        for at, after, is_last in self._delimiters(header.boundary, start, end):
            if part is not None:
                self.entity(part, max(part, at), depth=depth + 1, default=default, is_sealed=is_sealed)
            elif at > begin and self.is_fit(begin, at):
                self.plan.append(Span(begin, at))
            self.plan.append(Span(max(at, start), after))
            part = after
            if is_last:
                if self.is_fit(after, end):
                    self.plan.append(Span(after, end))
                return
        if part is None:
            raise CannotConvertError("its parts cannot be told apart")
        self.entity(part, end, depth=depth + 1, default=default, is_sealed=is_sealed)

    def _delimiters(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Give each delimiter: where it begins (with the CRLF before it), where what follows begins, if it is the last.

        What follows the last begins with the end of its line.
        """
        # The CRLF before the first may be the one of the blank line that ends the header.
        at, delimiter = start - 2, b"\r\n--" + boundary
        while (at := self._content.find(delimiter, at, end)) >= 0:
            after = at + len(delimiter)
            line_end = self._content.find(b"\r\n", after, end)
            line_end = end if line_end < 0 else line_end
            rest = self._content[after:line_end].rstrip(b" \t")
            if rest == b"--":
                yield at, line_end, True
                return
            if not rest:
                yield at, min(line_end + 2, end), False
            at = line_end


class _Header:
    """The fields of an entity that matter here."""

    def __init__(self, block: bytes, default: str) -> None:
        self._fields = parse_fields(block)
        self._message = Message()
        for name, _, body in self._fields:
            if name.lower().startswith((b"content-", b"mime-")) and name.decode() not in self._message:
                self._message[name.decode()] = body.decode("ascii", "replace").replace("\r\n", "").strip()
        self._message.set_default_type(default)
        self.kind = self._message.get_content_type()
        self.encoding = str(self._message.get("Content-Transfer-Encoding", "7bit")).strip().lower()

    @property
    def boundary(self) -> bytes:
        """What parts a multipart."""
        boundary = self._message.get_boundary()
        if not boundary:
            raise CannotConvertError("its parts cannot be told apart")
        return boundary.encode("ascii", "replace")

    def folded(self) -> bytes:
        """Return the fields, without a line that is too long."""
        return _folded(self._fields)

    def encoded_as(self, encoding: str, *, is_mail: bool) -> bytes:
        """Return the fields with another encoding, those of a mail with all that makes it MIME."""
        fields = _folded(field for field in self._fields if field[0].lower() != b"content-transfer-encoding")
        if is_mail and "MIME-Version" not in self._message:
            fields += b"MIME-Version: 1.0\r\n"
            if "Content-Type" not in self._message:
                fields += b"Content-Type: text/plain; charset=unknown-8bit\r\n"
        return fields + b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n"


def _folded(fields: Iterable[tuple[bytes, bytes, bytes]]) -> bytes:
    block = b"".join(b"".join(field) for field in fields)
    if not has_long_line(block):
        return block
    return b"".join(_fold(line) for line in block.splitlines(keepends=True))


def _fold(line: bytes) -> bytes:
    """Break a line of a header where it has white space, and something before and behind it."""
    folded = b""
    while len(line) > MAX_LINE + 2:
        at = max(line.rfind(b" ", 1, MAX_LINE), line.rfind(b"\t", 1, MAX_LINE))
        if at < 0 or not line[:at].strip() or not line[at:].strip():
            raise CannotConvertError("a line of its header is too long and has no space")
        folded += line[:at] + b"\r\n"
        line = line[at:]
    return folded + line


def converted(plan: Plan, read: Read) -> Iterator[bytes]:
    """Yield the new content, block by block."""
    for piece in plan:
        if isinstance(piece, bytes):
            yield piece
        else:
            yield from _TREATMENTS[piece.treatment](_blocks(piece, read))


def _blocks(span: Span, read: Read) -> Iterator[bytes]:
    for at in range(span.start, span.end, _BLOCK):
        yield read(at, min(at + _BLOCK, span.end))


def _copy(blocks: Iterator[bytes]) -> Iterator[bytes]:
    return blocks


def _base64(blocks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        octets = rest + block
        whole = (len(octets) - 1) // _BASE64_LINE * _BASE64_LINE
        yield b"".join(_base64_line(octets[at : at + _BASE64_LINE]) + b"\r\n" for at in range(0, whole, _BASE64_LINE))
        rest = octets[whole:]
    yield _base64_line(rest)


def _base64_line(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _rewrap(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of base64 as long as they may be."""
    rest = b""
    for block in blocks:
        text = rest + block.translate(None, _NOT_BASE64)
        whole = max(0, len(text) - 1) // 76 * 76
        yield b"".join(text[at : at + 76] + b"\r\n" for at in range(0, whole, 76))
        rest = text[whole:]
    yield rest


def _qp(blocks: Iterator[bytes]) -> Iterator[bytes]:
    return (_quoted(line, end) for line, end in _lines(blocks))


def _requote(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of quoted-printable as long, and as printable, as they may be."""
    for line, end in _lines(blocks, keep=2):
        text = line.rstrip(b" \t") if end == b"\r\n" else line
        is_soft = end == b"\r\n" and text.endswith(b"=")
        plain = binascii.a2b_qp(text[:-1] if is_soft else text)
        yield _quoted(plain, b"=\r\n" if is_soft else end)


def _quoted(line: bytes, end: bytes) -> bytes:
    if not end.startswith(b"="):
        return binascii.b2a_qp(line, istext=False).replace(b"\n", b"\r\n") + end
    # A character that stands for the soft line break has it counted among the 76 of a line.
    return binascii.b2a_qp(line + b"-", istext=False)[:-1].replace(b"\n", b"\r\n") + end


def _lines(blocks: Iterator[bytes], keep: int = 0) -> Iterator[tuple[bytes, bytes]]:
    r"""Give each line and how it ends: CRLF, nothing at the end of all, or a soft line break where it was cut.

    A line that is cut is not cut in its last `keep` octets if one of them is `=`.
    """
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\r\n")
        yield from ((line, b"\r\n") for line in lines)
        if len(rest) > _BLOCK:
            cut = len(rest) - 1 - rest.endswith(b"\r")
            escape = rest.rfind(b"=", cut - keep, cut) if keep else -1
            cut = escape if escape >= 0 else cut
            yield rest[:cut], b"=\r\n"
            rest = rest[cut:]
    if rest:
        yield rest, b""


_TREATMENTS: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "copy": _copy,
    "base64": _base64,
    "rewrap": _rewrap,
    "qp": _qp,
    "requote": _requote,
}
