"""A thread with a connection that only reads a spool: one call at a time, outside the reactor's thread."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from multid.mail.group_commit import is_damage
from multid.mail.interface import SpoolError

T = TypeVar("T")


class Reader:
    """See the module; the connection is made by the first call."""

    def __init__(self, reactor: Any, database: Path, name: str) -> None:
        self._reactor = reactor
        self._database = database
        self._thread = ThreadPool(0, 1, name)
        self._connection: sqlite3.Connection | None = None

    def start(self) -> None:
        """Be ready for calls."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was asked for, and close the connection."""
        self._thread.stop()
        if self._connection is not None:
            self._connection.close()

    def call(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Return what `work` returns for the connection and the arguments; SpoolError where it cannot read."""
        return deferToThreadPool(self._reactor, self._thread, self._in_thread, work, *arguments)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return work(self._connection or self._open(), *arguments)
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"{type(error).__name__}: {error}", is_damage=is_damage(error)) from error

    def _open(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(self._database, isolation_level=None, check_same_thread=False)
        # It never checkpoints: one connection writes, and only that one.
        self._connection.executescript("PRAGMA wal_autocheckpoint = 0; PRAGMA query_only = 1;")
        return self._connection
