"""The log of the daemon itself: the observer that twistd is given.

It writes every event that its level lets pass, one line an event, to where twistd's options say (stdout, or the file
of `-l`) or to the journal, and remembers the last ones for the status page and whoever follows a service.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogLevel
from twisted.python.logfile import LogFile
from zope.interface import implementer

from multid.log.format import PRIORITIES, as_dict, journal_entry, json_line, level, message, text_line
from multid.log.journal import Journal, is_journal
from multid.log.levels import Levels

RECENT = 200
"""How many of the last events are remembered."""

Follower = Callable[[Mapping[str, Any]], None]


@implementer(ILogObserver)
class Logbook:
    """The daemon's log: `form` is text, json, journal, or none where another observer writes.

    `destination` is a file of twistd's `-l`, or a stream.
    """

    def __init__(self, form: str, destination: LogFile | TextIO, default: str = "info") -> None:
        self.form = form
        self.levels = Levels(default)
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=RECENT)
        self._destination = destination
        self._journal = Journal() if form == "journal" else None
        self._followers: list[Follower] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        """ILogObserver API."""
        if self.levels.passes(event):
            if (event.get("log_level") or LogLevel.info) >= LogLevel.info:
                self._recent.append(event)
            self._write(event)
        for follower in self._followers:
            follower(event)

    @property
    def recent(self) -> list[dict[str, Any]]:
        """The last events that were written, the oldest first, as plain values; made only when asked for."""
        return [as_dict(event) for event in self._recent]

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Call a function with every event, also those that are not written; return what ends that."""
        self._followers = [*self._followers, follower]

        def leave() -> None:
            self._followers = [one for one in self._followers if one is not follower]

        return leave

    def reopen(self) -> None:
        """Open the log file anew: somebody has moved it away."""
        if isinstance(self._destination, LogFile):
            self._destination.reopen()

    def _write(self, event: Mapping[str, Any]) -> None:
        if self.form == "none":
            return
        if self._journal is not None:
            plain = f"<{PRIORITIES.get(level(event), 6)}>{message(event)}\n"
            self._journal.write(journal_entry(event, "multid"), plain)
            return
        self._destination.write(json_line(event) if self.form == "json" else text_line(event))
        self._destination.flush()


def open_logbook(form: str | None, default: str, twistd: Mapping[str, Any], environ: Mapping[str, str]) -> Logbook:
    """Return the log for the file's `log.format` and the options of twistd; OSError where it cannot be opened."""
    if twistd.get("syslog") or twistd.get("logger"):
        return Logbook("none", sys.stdout, default)
    is_daemon = not twistd.get("nodaemon")
    name = twistd.get("logfile") or ("twistd.log" if is_daemon else "-")
    if name != "-":
        return Logbook("json" if form == "json" else "text", LogFile.fromFullPath(name), default)
    if is_daemon:
        raise OSError("a daemon has no stdout to log to")
    return Logbook(form or ("journal" if is_journal(environ) else "text"), sys.stdout, default)
