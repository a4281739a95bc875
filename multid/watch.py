"""Telling the service manager how things are, while they are: the status line, and that we are alive.

Each `EVERY` seconds, or as often as the watchdog wants it: the status is told where it has changed, and the watchdog is
held off unless a service has a fault that only a new process puts right. Since this runs in the reactor, a reactor that
hangs tells nothing, and the manager starts us again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from multid.overview import faults, summary

if TYPE_CHECKING:
    from multid.daemon import Daemon

EVERY = 5.0


class Watch:
    """The regular look at the daemon."""

    log = Logger()

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._interval = min(EVERY, daemon.manager.watchdog_interval or EVERY)
        self._told = ""
        self._faults: list[str] = []
        self._next: Any = None

    def start(self) -> None:
        """Begin to look."""
        self._daemon.manager.alive()
        self._schedule()

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _schedule(self) -> None:
        self._next = self._daemon.reactor.callLater(self._interval, self._look)

    def _look(self) -> None:
        self._schedule()
        status = summary(self._daemon)
        if status != self._told:
            self._told = status
            self._daemon.manager.status(status)
        found = faults(self._daemon)
        for fault in found:
            if fault not in self._faults:
                self.log.critical("{fault}: only a new process can put that right", fault=fault)
        self._faults = found
        if not found:
            self._daemon.manager.alive()
