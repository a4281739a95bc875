"""What was received, on its way to the outputs.

A `Batch` is the lines that one feed of one peer completed; it goes to every output whole, since what is done once for
many lines is what makes the logger fast. A `Record` is one line of it, for outputs and people who look at single lines.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from multid.lines.escape import escape, escape_lines, mark
from multid.lines.ledger import Ledger
from multid.lines.splitter import Lines, pack


@dataclass(frozen=True)
class Source:
    """Whose lines these are: a service and a peer, as they stand in every record."""

    service: str
    peer: str
    host: str
    charset: str = "utf-8"
    parse: Callable[[bytes], Mapping[str, Any]] | None = None


class Record(NamedTuple):
    """One line as received, and what its parser found: `fields`, with `parse_error` if it is not of that form."""

    time: float
    source: Source
    line: bytes
    mark: str | None = None
    fields: Mapping[str, Any] = MappingProxyType({})

    @property
    def host(self) -> str:
        """What the line calls its host, else the peer's address."""
        return str(self.fields.get("host") or self.source.host)

    @property
    def text(self) -> bytes:
        """The line escaped, with its mark."""
        text = escape(self.line, self.source.charset)
        return text + mark(self.mark) if self.mark else text


class Received:
    """Lines of one source, received together at `time` (seconds since 1970), and what outputs make of them, once."""

    def __init__(self, when: float, source: Source, lines: Lines) -> None:
        self.time = when
        self.source = source
        self.lines = lines

    @cached_property
    def count(self) -> int:
        """How many lines."""
        return self.lines.count

    @cached_property
    def escaped(self) -> bytes:
        """All lines escaped, each with its mark and followed by LF."""
        lines, charset = self.lines, self.source.charset
        if lines.separate is None:
            block = escape_lines(lines.block, charset)
        else:
            block = b"\n".join([escape(line, charset) for line in lines.separate]) + b"\n"
        return block[:-1] + mark(lines.mark) + b"\n" if lines.mark else block

    @cached_property
    def records(self) -> list[Record]:
        """The lines one by one, parsed as the source says."""
        parse, marked = self.source.parse, self.lines.mark
        if parse is None:
            return [Record(self.time, self.source, line, marked) for line in self.lines]
        return [Record(self.time, self.source, line, marked, parse(line)) for line in self.lines]

    def by_host(self) -> list[tuple[str, "Received"]]:
        """Return the lines of each host they name, else of the peer's address."""
        groups: dict[str, list[Record]] = {}
        for record in self.records:
            groups.setdefault(record.host, []).append(record)
        if len(groups) == 1:
            return [(next(iter(groups)), self)]
        return [(host, self._some(records)) for host, records in groups.items()]

    def _some(self, records: list[Record]) -> "Received":
        lines = [record.line for record in records]
        some = Received(self.time, self.source, pack(lines, sum(map(len, lines)), self.lines.mark))
        some.records = records
        return some


class Batch(Received):
    """What was received, on its way to a number of outputs: pending in a ledger until each of them has settled it."""

    def __init__(self, when: float, source: Source, lines: Lines, ledger: Ledger, outputs: int = 1) -> None:
        super().__init__(when, source, lines)
        self._ledger = ledger
        self._outputs = outputs
        self._lost = ("", 0, 0)
        ledger.pending.add(self)

    @property
    def octets(self) -> int:
        """Octets that the lines took of what was received."""
        return self.lines.octets

    def settle(self, reason: str = "", lines: int = 0, octets: int = 0) -> None:
        """Say that one output is done with the batch, and what it had to drop of it."""
        if lines > self._lost[1]:
            self._lost = (reason, lines, octets)
        self._outputs -= 1
        if self._outputs == 0:
            self._ledger.pending.remove(self)
            reason, lines, octets = self._lost
            self._ledger.written(self.count - lines, self.octets - octets)
            if lines:
                self._ledger.drop(reason, lines, octets)


class _Second:
    """The text of the second that was asked for last: most records share it."""

    def __init__(self) -> None:
        self.second = -1
        self.text = ""


_LAST = _Second()


def stamp(when: float) -> str:
    """Return a time in UTC to the microsecond, such as `2026-11-20T11:22:33.123456Z` (RFC 3339)."""
    microseconds = int(when * 1_000_000)
    second, microseconds = divmod(microseconds, 1_000_000)
    if second != _LAST.second:
        _LAST.text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _LAST.second = second
    return f"{_LAST.text}.{microseconds:06d}Z"
