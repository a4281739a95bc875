"""The account of every octet: received = written + dropped by reason + pending, at any moment. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Protocol


class Pending(Protocol):
    """Something received that no output has finished with."""

    @property
    def octets(self) -> int:
        """Octets it took of what was received."""

    @property
    def count(self) -> int:
        """Lines it is."""


class Ledger:
    """One connection's account, or the sum of many.

    Octets are those received, with line ends and lengths, whatever became of them in a file. A line is one record. What
    is `held` has been received and is no line yet.
    """

    def __init__(self) -> None:
        self.received_octets = 0
        self.held_octets = 0
        self.written_lines = 0
        self.written_octets = 0
        self.dropped_lines: Counter[str] = Counter()
        self.dropped_octets: Counter[str] = Counter()
        self.pending: set[Pending] = set()

    @property
    def pending_lines(self) -> int:
        """Lines on their way."""
        return sum(batch.count for batch in self.pending)

    @property
    def pending_octets(self) -> int:
        """Octets of lines on their way, and of a line that has not ended."""
        return self.held_octets + sum(batch.octets for batch in self.pending)

    @property
    def received_lines(self) -> int:
        """Lines received: each is written, dropped or pending."""
        return self.written_lines + self.dropped_lines.total() + self.pending_lines

    def written(self, lines: int, octets: int) -> None:
        """Count what every output has written."""
        self.written_lines += lines
        self.written_octets += octets

    def drop(self, reason: str, lines: int, octets: int) -> None:
        """Count what is given up, and why."""
        self.dropped_lines[reason] += lines
        self.dropped_octets[reason] += octets

    def add(self, other: Ledger) -> None:
        """Take in another account; what is pending there is settled there."""
        self.received_octets += other.received_octets
        self.written(other.written_lines, other.written_octets)
        self.dropped_lines.update(other.dropped_lines)
        self.dropped_octets.update(other.dropped_octets)
        self.held_octets += other.held_octets
        self.pending |= other.pending

    @property
    def balanced(self) -> bool:
        """Whether every octet is accounted for."""
        known = self.written_octets + self.dropped_octets.total() + self.pending_octets
        return self.received_octets == known

    def as_dict(self) -> dict[str, dict[str, int | dict[str, int]]]:
        """Return the account as plain data, for the status and for events."""
        return {
            "lines": {
                "received": self.received_lines,
                "written": self.written_lines,
                "dropped": dict(self.dropped_lines),
                "pending": self.pending_lines,
            },
            "octets": {
                "received": self.received_octets,
                "written": self.written_octets,
                "dropped": dict(self.dropped_octets),
                "pending": self.pending_octets,
            },
        }


class Accounts:
    """The ledgers of a service: one for each connection, one for all datagrams, and the sum of those closed."""

    def __init__(self) -> None:
        self.datagrams = Ledger()
        self.probes = 0  # connections that sent nothing, as health checks do
        self._open: set[Ledger] = set()
        self._closed: list[Ledger] = []  # of connections that have ended, with lines pending
        self._past = Ledger()

    def open(self) -> Ledger:
        """Return the ledger of a new connection."""
        ledger = Ledger()
        self._open.add(ledger)
        return ledger

    def close(self, ledger: Ledger) -> None:
        """The connection has ended; its ledger is added to those of the past as soon as nothing in it is pending."""
        self.probes += not ledger.received_octets
        self._open.remove(ledger)
        self._closed.append(ledger)
        self._settle()

    def total(self) -> Ledger:
        """Return the sum of all of them."""
        self._settle()
        total = Ledger()
        for ledger in (self._past, self.datagrams, *self._open, *self._closed):
            total.add(ledger)
        return total

    def _settle(self) -> None:
        for ledger in self._closed:
            if not ledger.pending:
                self._past.add(ledger)
        self._closed = [ledger for ledger in self._closed if ledger.pending]
