"""What ends a line: the framings, and the splitter of each. Pure.

`lf`, `crlf` and `nul` end a line by exactly that. `octet-counted` is RFC 6587 3.4.1, `LENGTH SP MESSAGE`. `auto`
decides frame by frame: what begins with `[1-9][0-9]{0,6} SP <PRI>` is octet-counted, so a text that merely begins
with digits never is; all else ends at LF, and one CR before it is not part of the line. One line end at the end of a
counted message is not part of it either. What has no length where one must stand is a line that ends at LF: nothing
is thrown away for its framing.
"""

import re
from typing import Literal

from multid.lines.scan import presence
from multid.lines.splitter import Drop, Lines, Oversize, Splitter, Unterminated, nobody, pack

Framing = Literal["lf", "crlf", "nul", "octet-counted", "auto"]

_PRI = rb"<(?:0|[1-9]\d?|1[0-8]\d|19[01])>"
_PART_OF_PRI = rb"<(?:0|[1-9]\d?|1[0-8]\d|19[01])?"
_LENGTH = rb"[1-9]\d{0,6} "
_HEADER = _LENGTH + rb"(?=" + _PRI + rb")"
_HOLDS_LENGTH, _HOLDS_HEADER = presence(rb"\n" + _LENGTH), presence(rb"\n" + _HEADER)
_LONGEST_HEADER = len(b"9999999 <191>")
_LINE_END = 2  # octets of the longest line end that a counted message may carry


class FrameSplitter(Splitter):
    """Counted messages, and lines where no length stands; see `auto` and `octet-counted` above."""

    def __init__(
        self,
        *,
        strict: bool,
        max_line: int = 65536,
        oversize: Oversize = "split",
        unterminated: Unterminated = "keep",
        drop: Drop = nobody,
    ) -> None:
        super().__init__(strip_cr=True, max_line=max_line, oversize=oversize, unterminated=unterminated, drop=drop)
        header = _HEADER if strict else _LENGTH
        part = rb"[1-9]\d{0,6}" + (rb"(?: (?:" + _PART_OF_PRI + rb")?)?" if strict else b"")
        self._strict = strict
        self._pri = re.compile(_PRI)
        self._header = re.compile(header)
        self._holds_frame = _HOLDS_HEADER if strict else _HOLDS_LENGTH
        self._part = re.compile(part)
        self._head = b""  # what may become a length
        self._around = 0  # octets of the length of the message that is being read
        self._remaining = 0  # octets of it that are to come
        self._long = False  # whether it is too long even without a line end

    @property
    def pending(self) -> int:
        """Octets that were fed and neither handed over nor dropped."""
        return super().pending + len(self._head) + self._around

    def feed(self, chunk: bytes) -> list[Lines]:
        """Return the lines and messages that end in this chunk."""
        if self._head:
            chunk, self._head = self._head + chunk, b""
        if not self._remaining and not self._any_frame(chunk):
            return super().feed(self._without_head(chunk))
        return self._feed_frames(chunk)

    def end(self) -> list[Lines]:
        """Return what came without its end; nothing is held afterwards."""
        out: list[Lines] = []
        if not self._remaining:
            self._hold(self._head, out)
            self._head = b""
            return out + super().end()
        if self._skipping:
            self._drop("oversize", 0, self._around)
        else:
            self._end_held(out, self._around)
        self._skipping = False
        self._remaining = self._around = 0
        return out

    def datagram(self, data: bytes) -> list[Lines]:
        """Return the message that a datagram is (RFC 5426), or the lines of one that does not begin with `<PRI>`."""
        if self._strict and not self._pri.match(data):
            return super().datagram(data)
        out: list[Lines] = []
        if not data:
            return out
        line = _without_line_end(data)
        self._hold(line, out)
        self._finish(out, len(data) - len(line))
        return out

    @property
    def _in_line(self) -> bool:
        return bool(self._held or self._carry or self._skipping)

    def _any_frame(self, chunk: bytes) -> bool:
        if self._strict and b"<" not in chunk:  # the cheapest, and true of most text
            return False
        if not self._in_line and self._header.match(chunk):
            return True
        return self._holds_frame(chunk)

    def _without_head(self, chunk: bytes) -> bytes:
        """Set aside an end of the chunk that may become a length."""
        start = chunk.rfind(b"\n") + 1
        if len(chunk) - start > _LONGEST_HEADER or (not start and self._in_line):
            return chunk
        if self._part.fullmatch(chunk, start):
            self._head = chunk[start:]
            return chunk[:start]
        return chunk

    def _feed_frames(self, chunk: bytes) -> list[Lines]:
        out: list[Lines] = []
        at = 0
        while at < len(chunk):
            if self._remaining:
                at = self._feed_body(chunk, at, out)
            elif self._in_line:
                at = self._feed_text(chunk, at, out)
            else:
                at = self._feed_whole(chunk, at, out)
        return out

    def _feed_text(self, chunk: bytes, at: int, out: list[Lines]) -> int:
        """Take what follows up to a line end."""
        end = chunk.find(b"\n", at) + 1
        out += super().feed(chunk[at:end] if end else self._without_head(chunk[at:]))
        return end or len(chunk)

    def _feed_whole(self, chunk: bytes, at: int, out: list[Lines]) -> int:
        """Take all messages and lines from here that are whole and not too long, and begin what follows."""
        start = at
        whole: list[bytes] = []
        header = self._header.match(chunk, at)
        while True:
            if header:
                size = int(header[0])
                end = header.end() + size
                if end > len(chunk) or size > self.max_line:
                    break
                whole.append(_without_line_end(chunk[header.end() : end]))
            else:
                end = chunk.find(b"\n", at) + 1
                if not end or end - at > self.max_line:
                    break
                whole.append(_without_line_end(chunk[at:end]))
            at = end
            header = self._header.match(chunk, at)
        if whole:
            out.append(pack(whole, at - start))
        if not header:
            return self._feed_text(chunk, at, out)
        self._around = header.end() - at
        self._remaining = size
        self._long = size > self.max_line + _LINE_END
        return header.end()

    def _feed_body(self, chunk: bytes, at: int, out: list[Lines]) -> int:
        body = chunk[at : at + self._remaining]
        self._remaining -= len(body)
        if self._long:
            self._hold(body, out)
        else:
            self._held += body
        if not self._remaining:
            self._end_body(out)
        return at + len(body)

    def _end_body(self, out: list[Lines]) -> None:
        around, self._around = self._around, 0
        if not self._skipping:
            message = bytes(self._held)
            self._held.clear()
            line = _without_line_end(message)
            around += len(message) - len(line)
            self._hold(line, out)
        self._finish(out, around)


def _without_line_end(message: bytes) -> bytes:
    return message[:-_LINE_END] if message.endswith(b"\r\n") else message.removesuffix(b"\n")


_DELIMITERS = {"lf": b"\n", "crlf": b"\r\n", "nul": b"\0"}


def make_splitter(
    framing: Framing,
    *,
    max_line: int = 65536,
    oversize: Oversize = "split",
    unterminated: Unterminated = "keep",
    drop: Drop = nobody,
) -> Splitter:
    """Return a splitter for one connection."""
    if framing in _DELIMITERS:
        delimiter = _DELIMITERS[framing]
        return Splitter(delimiter, max_line=max_line, oversize=oversize, unterminated=unterminated, drop=drop)
    strict = framing == "auto"
    return FrameSplitter(strict=strict, max_line=max_line, oversize=oversize, unterminated=unterminated, drop=drop)
