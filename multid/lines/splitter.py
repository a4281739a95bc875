"""Octets of a connection to lines. Pure, linear in what is fed, and bounded.

`feed(chunk)` gives back all lines that the chunk completes, in few `Lines` and not line by line, and `end()` what was
left without a line end. However a stream is cut into chunks, the lines, their marks and their order are the same.

A line ends by a delimiter and by exactly that: all else, a lone CR or LF too, belongs to the line; `strip_cr` takes one
CR before it for a part of it. A line longer than `max_line` is split into marked pieces, truncated with a mark, or
dropped and counted; the next line is whole. Cuts do not part the octets of a UTF-8 character. Never is more held than
`max_line` and a chunk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Oversize = Literal["split", "truncate", "drop"]
Unterminated = Literal["keep", "drop"]
Mark = Literal["split", "truncated", "unterminated"]
Drop = Callable[[str, int, int], None]
"""Told of what is not handed over: a reason, lines, octets."""


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


def nobody(_reason: str, _lines: int, _octets: int) -> None:
    """A `Drop` that tells nobody."""


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
        drop: Drop = nobody,
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
        if self._held:
            block = b"".join((self._held, memoryview(chunk)[:end]))
            self._held.clear()
        else:
            block = chunk[:end]
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
