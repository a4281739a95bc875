"""Octets of a connection to lines. Pure, linear in what is fed, and bounded.

`feed(chunk)` gives back all lines that the chunk completes, in few `Lines` and not line by line, and `end()` what was
left without a line end. However a stream is cut into chunks, the lines, their marks and their order are the same.

Framings: `lf`, `crlf` and `nul` end a line by exactly that; all else, a lone CR or LF too, belongs to the line.
`octet-counted` is RFC 6587 3.4.1, `LENGTH SP MESSAGE`. `auto` decides frame by frame: what begins with
`[1-9][0-9]{0,6} SP <PRI>` is octet-counted, so a text that merely begins with digits never is; all else ends at LF,
and one CR before it is not part of the line. One line end at the end of a counted message is not part of it either.
What has no length where one must stand is a line that ends at LF: nothing is thrown away for its framing.

A line longer than `max_line` is split into marked pieces, truncated with a mark, or dropped and counted; the next line
is whole. Cuts do not part the octets of a UTF-8 character. Never is more held than `max_line` and a chunk.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from multid.lines.scan import presence

Framing = Literal["lf", "crlf", "nul", "octet-counted", "auto"]
Oversize = Literal["split", "truncate", "drop"]
Unterminated = Literal["keep", "drop"]
Mark = Literal["split", "truncated", "unterminated"]
Drop = Callable[[str, int, int], None]
"""Told of what is not handed over: a reason, lines, octets."""

_PRI = rb"<(?:0|[1-9]\d?|1[0-8]\d|19[01])>"
_PART_OF_PRI = rb"<(?:0|[1-9]\d?|1[0-8]\d|19[01])?"
_LENGTH = rb"[1-9]\d{0,6} "
_HEADER = _LENGTH + rb"(?=" + _PRI + rb")"
_HOLDS_LENGTH, _HOLDS_HEADER = presence(rb"\n" + _LENGTH), presence(rb"\n" + _HEADER)
_LONGEST_HEADER = len(b"9999999 <191>")
_LINE_END = 2  # octets of the longest line end that a counted message may carry


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines in the order of their arrival; if they are marked, it is one line.

    `block` is all of them, each followed by LF. Where a line itself holds LF, `separate` has them one by one.
    `octets` is what they took of the stream, with line ends and lengths.
    """

    block: bytes
    octets: int
    mark: Mark | None = None
    separate: tuple[bytes, ...] | None = None

    @property
    def count(self) -> int:
        """How many lines."""
        return self.block.count(b"\n") if self.separate is None else len(self.separate)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.block[:-1].split(b"\n") if self.separate is None else self.separate)


def _nobody(_reason: str, _lines: int, _octets: int) -> None:
    pass


def pack(lines: list[bytes], octets: int, mark: Mark | None = None) -> Lines:
    """Return lines, which may hold LF, as one `Lines`."""
    block = b"\n".join(lines) + b"\n"
    if block.count(b"\n") == len(lines):
        return Lines(block, octets, mark)
    return Lines(block, octets, mark, tuple(lines))


class Splitter:
    """Lines that end by a delimiter."""

    def __init__(
        self,
        delimiter: bytes = b"\n",
        *,
        strip_cr: bool = False,
        max_line: int = 65536,
        oversize: Oversize = "split",
        unterminated: Unterminated = "keep",
        drop: Drop = _nobody,
    ) -> None:
        self.max_line = max_line
        self._delimiter = delimiter
        self._strip_cr = strip_cr
        self._oversize = oversize
        self._unterminated = unterminated
        self._drop = drop
        self._held = bytearray()  # of the line that has not ended; never longer than max_line between two feeds
        self._carry = b""  # a CR that the next octet may make a line end
        self._skipping = False  # the rest of a line that was truncated or dropped

    @property
    def pending(self) -> int:
        """Octets that were fed and neither handed over nor dropped."""
        return len(self._held) + len(self._carry)

    def feed(self, chunk: bytes) -> list[Lines]:
        """Return the lines that end in this chunk."""
        out: list[Lines] = []
        if self._carry:
            chunk, self._carry = self._carry + chunk, b""
        if chunk.endswith(b"\r") and (self._strip_cr or self._delimiter == b"\r\n"):
            chunk, self._carry = chunk[:-1], b"\r"
        if self._skipping:
            chunk = self._skip(chunk)
        end = chunk.rfind(self._delimiter)
        if end < 0:
            self._hold(chunk, out)
            return out
        end += len(self._delimiter)
        block = chunk[:end]
        if self._held:
            block = b"".join((self._held, block))
            self._held.clear()
        self._take(block, out)
        self._hold(chunk[end:], out)
        return out

    def end(self) -> list[Lines]:
        """Return what came without a line end; nothing is held afterwards."""
        out: list[Lines] = []
        carry, self._carry = self._carry, b""
        if self._skipping:
            self._drop("oversize", 0, len(carry))
        else:
            self._hold(carry, out)
            self._end_held(out)
        self._skipping = False
        return out

    def release(self) -> bytes:
        """Return what is held of a line, and forget it."""
        held = bytes(self._held) + self._carry
        self._held.clear()
        self._carry = b""
        return held

    def datagram(self, data: bytes) -> list[Lines]:
        """Return the lines of a datagram; its end is a line end. Not to be mixed with `feed`."""
        out = Splitter.feed(self, data)
        carry, self._carry = self._carry, b""
        self._hold(carry, out)
        if self._held or self._skipping:
            self._finish(out, 0)
        return out

    def _end_held(self, out: list[Lines], header: int = 0) -> None:
        held = bytes(self._held)
        self._held.clear()
        if not held and not header:
            return
        if self._unterminated == "keep":
            out.append(pack([held], len(held) + header, "unterminated"))
        else:
            self._drop("unterminated", 1, len(held) + header)

    def _skip(self, chunk: bytes) -> bytes:
        end = chunk.find(self._delimiter)
        self._skipping = end < 0
        rest = b"" if end < 0 else chunk[end + len(self._delimiter) :]
        self._drop("oversize", 0, len(chunk) - len(rest))
        return rest

    def _take(self, block: bytes, out: list[Lines]) -> None:
        """Hand over a block of whole lines with their delimiters."""
        if not self._fits(block):
            self._take_one_by_one(block, out)
        elif self._delimiter != b"\n":
            out.append(pack(block.split(self._delimiter)[:-1], len(block)))
        elif self._strip_cr and b"\r" in block:  # one octet is found ten times as fast as two
            out.append(Lines(block.replace(b"\r\n", b"\n"), len(block)))
        else:
            out.append(Lines(block, len(block)))

    def _fits(self, block: bytes) -> bool:
        """Whether surely no line of the block is too long: from line end to line end, in steps as long as may be."""
        step = self.max_line + len(self._delimiter)
        start = 0
        while len(block) - start > step:
            end = block.rfind(self._delimiter, start, start + step)
            if end < 0:
                return False
            start = end + len(self._delimiter)
        return True

    def _take_one_by_one(self, block: bytes, out: list[Lines]) -> None:
        whole: list[bytes] = []
        octets = 0
        for raw in block.split(self._delimiter)[:-1]:
            line = raw.removesuffix(b"\r") if self._strip_cr else raw
            size = len(raw) + len(self._delimiter)
            if len(line) <= self.max_line:
                whole.append(line)
                octets += size
                continue
            if whole:
                out.append(pack(whole, octets))
                whole, octets = [], 0
            self._hold(line, out)
            self._finish(out, size - len(line))
        if whole:
            out.append(pack(whole, octets))

    def _finish(self, out: list[Lines], around: int) -> None:
        """End the held line, whose delimiter or length took `around` octets."""
        if self._skipping:
            self._skipping = False
            self._drop("oversize", 0, around)
            return
        out.append(pack([bytes(self._held)], len(self._held) + around))
        self._held.clear()

    def _hold(self, rest: bytes, out: list[Lines]) -> None:
        """Keep the beginning of a line, and treat it as `oversize` says once it is too long."""
        if self._skipping:
            self._drop("oversize", 0, len(rest))
            return
        self._held += rest
        if len(self._held) <= self.max_line:
            return
        data = bytes(self._held)
        self._held.clear()
        if self._oversize == "split":
            self._held += self._pieces(data, out)
            return
        self._skipping = True
        if self._oversize == "drop":
            self._drop("oversize", 1, len(data))
            return
        end = _cut(data, self.max_line)
        out.append(pack([data[:end]], end, "truncated"))
        self._drop("oversize", 0, len(data) - end)

    def _pieces(self, data: bytes, out: list[Lines]) -> bytes:
        start = 0
        while len(data) - start > self.max_line:
            end = _cut(data, start + self.max_line)
            out.append(pack([data[start:end]], end - start, "split"))
            start = end
        return data[start:]


def _cut(data: bytes, at: int) -> int:
    """Return where to cut, at or shortly before `at`, so that no UTF-8 character is parted."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at


class FrameSplitter(Splitter):
    """Counted messages, and lines where no length stands; see `auto` and `octet-counted` above."""

    def __init__(
        self,
        *,
        strict: bool,
        max_line: int = 65536,
        oversize: Oversize = "split",
        unterminated: Unterminated = "keep",
        drop: Drop = _nobody,
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
    drop: Drop = _nobody,
) -> Splitter:
    """Return a splitter for one connection."""
    if framing in _DELIMITERS:
        delimiter = _DELIMITERS[framing]
        return Splitter(delimiter, max_line=max_line, oversize=oversize, unterminated=unterminated, drop=drop)
    strict = framing == "auto"
    return FrameSplitter(strict=strict, max_line=max_line, oversize=oversize, unterminated=unterminated, drop=drop)
