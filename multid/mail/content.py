r"""The content of a mail as it comes in: where it ends, what it is, and what it must not be. Pure.

`DotReader` finds the end of data, which is CRLF.CRLF and nothing else (RFC 5321 4.1.1.4), and takes the dots away
that transparency put at the beginning of lines (4.5.2), the same however the octets are split. It stands as if after
a CRLF, so that `.\r\n` at once is an empty mail.

`Content` takes what either DATA or BDAT carries and gives what is to be stored: lines that end in CRLF, the header
through a function of the caller. What is wrong with a mail becomes its `verdict` and is told at the end of data;
nothing in a content ever ends it. A bare CR or LF is a line end (normalize; a run of CR, with or without its LF, is
one) or a reason to refuse, NUL always is one; a binary content (RFC 3030) is left alone.
"""

import re
from collections.abc import Callable

from multid.mail.headers import begins_field, fields_end
from multid.mail.reply import Reply

MAX_HEADER = 1 << 20

TOO_BIG = Reply(552, "5.3.4", "Message is bigger than the limit")
HEADER_TOO_BIG = Reply(552, "5.3.4", "Message header is bigger than 1 MiB")
BARE_NEWLINE = Reply(554, "5.6.0", "A line of the message does not end in CRLF")
NUL = Reply(554, "5.6.0", "Message has a NUL character")

_END = b"\r\n.\r\n"
_BEGINNINGS = (b"\r", b"\r\n", b"\r\n.", b"\r\n.\r")
_ANY_NEWLINE = re.compile(rb"\r++\n?|\n")


class DotReader:
    """The octets of DATA, without their dots, until the end of data."""

    def __init__(self) -> None:
        self._held = b"\r\n"
        self._is_first = True

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return a piece of the content, and once the end is found what came behind it, else None."""
        data = self._held + data
        end = data.find(_END)
        if end >= 0:
            return self._unstuffed(data[: end + 2]), data[end + len(_END) :]
        keep = self._beginning_of_end(data)
        self._held = data[keep:]
        return self._unstuffed(data[:keep]), None

    @staticmethod
    def _beginning_of_end(data: bytes) -> int:
        if not data.endswith(_BEGINNINGS):
            return len(data)
        return len(data) - max(len(part) for part in _BEGINNINGS if data.endswith(part))

    def _unstuffed(self, data: bytes) -> bytes:
        plain = data.replace(b"\r\n.", b"\r\n")
        if not self._is_first or not plain:
            return plain
        self._is_first = False
        return plain[2:]


class Content:
    """One mail's content; `header` turns the header fields into those to store, or refuses the mail."""

    def __init__(
        self, limit: int, header: Callable[[bytes], bytes | Reply], *, reject_bare: bool, is_binary: bool
    ) -> None:
        self.size = 0
        self.is_ascii = True
        self._limit = limit
        self._header = header
        self._head: bytearray | None = bytearray()
        self._reject_bare = reject_bare
        self._is_binary = is_binary
        self._held = b""
        self._is_open = False
        self._refusal: Reply | None = None
        self._has_nul = False
        self._has_bare = False

    @property
    def verdict(self) -> Reply | None:
        """Why the mail will be refused; of several reasons the same one however the content was split."""
        if self.size > self._limit:
            return TOO_BIG
        if self._refusal or self._has_nul:
            return self._refusal or NUL
        return BARE_NEWLINE if self._has_bare and self._reject_bare else None

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the content; return what is to be stored now."""
        self.size += len(data)
        if self.size > self._limit:
            self._head = None
            return b""
        data = self._stored(data if self._is_binary else self._text(data))
        return b"" if self.verdict else data

    def finish(self) -> bytes:
        """Return what is left to be stored: a header without a body, the line end that the last line lacks."""
        rest = b""
        if self._held:
            rest = self._stored(self._whole_lines(self._held))
        elif self._is_open and not self._is_binary:
            rest = self._stored(b"\r\n")
        if self._head is not None:
            rest = self._split(len(self._head))
        return b"" if self.verdict else rest

    def _text(self, data: bytes) -> bytes:
        if self._held:
            data, self._held = self._held + data, b""
        self._has_nul = self._has_nul or b"\0" in data
        if data.endswith(b"\r"):
            self._has_bare = self._has_bare or data.endswith(b"\r\r")
            data, self._held = data.rstrip(b"\r"), b"\r"
        inside = data.replace(b"\r\n", b"")  # cheaper than to count, and both searches are memchr(3)
        if b"\n" not in inside and b"\r" not in inside:
            return data
        return self._whole_lines(data)

    def _whole_lines(self, data: bytes) -> bytes:
        self._has_bare = True
        return _ANY_NEWLINE.sub(b"\r\n", data)

    def _stored(self, data: bytes) -> bytes:
        if not data:
            return b""
        self.is_ascii = self.is_ascii and data.isascii()
        self._is_open = not data.endswith(b"\n")
        if self._head is None:
            return data
        searched = max(0, len(self._head) - 3)
        self._head += data
        blank = 0 if self._head.startswith(b"\r\n") else self._head.find(b"\r\n\r\n", searched)
        if blank < 0 and len(self._head) <= MAX_HEADER:
            return b""
        return self._split(blank)

    def _split(self, blank: int) -> bytes:
        """Part the header from the body; a line that is neither ends the header as a blank one does."""
        head, self._head = bytes(self._head or b""), None
        end = fields_end(head)
        if end > MAX_HEADER or (blank < 0 and begins_field(head[end:])):
            self._refusal = HEADER_TOO_BIG
            return b""
        fields = self._header(head[:end])
        if isinstance(fields, Reply):
            self._refusal = fields
            return b""
        body = head[end:]
        return fields + (body if not body or body.startswith(b"\r\n") else b"\r\n" + body)
