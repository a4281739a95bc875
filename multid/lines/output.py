"""Where lines go: what the logger knows of a file, a next hop or the journal. No logic."""

from collections.abc import Callable
from typing import Any, Protocol

from multid.lines.record import Batch

Pressure = Callable[[bool], None]
"""Told True when an output cannot keep up and peers must wait, False when they may go on."""


class Output(Protocol):
    """Takes batches in order, and settles each once."""

    def open(self) -> None:
        """Make sure that batches can be taken; OSError where they cannot."""

    def start(self) -> None:
        """Begin what goes on by time."""

    def write(self, batch: Batch) -> None:
        """Take a batch; it is settled now or later."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by closing it now."""

    def go_on(self) -> None:
        """Try at once what waits to be tried again."""

    def reopen(self) -> None:
        """Look whether somebody moved what is being written, and open it anew."""

    def rotate(self) -> list[str]:
        """Put away what is being written and begin anew; return the names it got."""

    async def close(self) -> None:
        """Write what is pending as far as that can be done now, and end."""

    def status(self) -> dict[str, Any]:
        """Return what an operator wants to know, as plain data."""
