"""One thread that owns the one connection which writes, and makes the changes that wait share a transaction.

`submit` is called on the reactor's thread. What is submitted in one turn of the reactor, and all that comes in while
a transaction is under way, is applied in the order of submission, committed with one fsync, and acknowledged together
by one call back into the reactor. A change is acknowledged only when the commit that holds it has returned.

Where many shared the last transaction, the next waits until as many have come, but `PATIENCE` at most: sessions that
were acknowledged together come back together, and a commit costs as much as two mails. A few never wait.

If a change is itself at fault, the transaction is rolled back and each change gets its own, so that only the culprit
fails. If the store is (disk full, I/O error, read-only), none of the batch is acknowledged and the connection is
closed; the next batch opens it anew, for after a failed fsync nobody knows what the old one's pages hold. A commit
that failed may have reached the disk all the same: before anything else, a new connection revokes it.
"""

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred

from multid.mail.interface import SpoolError
from multid.mail.reply import LOCAL_ERROR, NO_ROOM

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

MANY = 4
PATIENCE = 0.005
"""Seconds that a change waits for others to share its transaction."""

Batch = list[tuple[T, "Deferred[None]"]]

_AT_FAULT = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG}
"""What an error of SQLite is, if it is the change's and not the store's."""


class Store(Protocol[T_contra]):
    """What is written, and where; called on the writer's thread only."""

    def connect(self) -> sqlite3.Connection:
        """Open the store, in autocommit mode; sqlite3.Error or OSError if that cannot be."""
        ...

    def apply(self, connection: sqlite3.Connection, changes: Sequence[T_contra]) -> None:
        """Execute the changes, in a transaction that is open already."""
        ...

    def revoke(self, connection: sqlite3.Connection, changes: Sequence[T_contra]) -> None:
        """Take back what of `changes` is there, in a transaction that is open already."""
        ...


class GroupCommit(Generic[T]):
    """Applies changes to a store in transactions that they share; see the module."""

    def __init__(self, reactor: Any, store: Store[T]) -> None:
        self._reactor = reactor
        self._store = store
        self._pending: Batch[T] = []
        self._usual = 1
        self._call: Any = None
        self._batches: SimpleQueue[Batch[T] | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._revoked: list[T] = []
        self._stopped: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        """Start the thread; fires when the store is open, fails with sqlite3.Error or OSError if it cannot be."""
        started: Deferred[None] = Deferred()
        threading.Thread(target=self._run, args=(started,), name="multid-spool", daemon=True).start()
        return started

    def submit(self, change: T) -> Deferred[None]:
        """Apply a change; fires when it is durable, fails with SpoolError if it is not and will not be."""
        done: Deferred[None] = Deferred()
        self._pending.append((change, done))
        if len(self._pending) == 1:
            # Not at once: the other sessions that are ready in this turn shall share the transaction.
            self._call = self._reactor.callLater(PATIENCE if self._usual >= MANY else 0, self._hand_over)
        elif len(self._pending) == self._usual:
            self._call.reset(0)
        return done

    def stop(self) -> Deferred[None]:
        """Fires when all that was submitted has been tried, and the store is closed."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._hand_over()
        self._batches.put(None)
        return self._stopped

    def _hand_over(self) -> None:
        batch, self._pending = self._pending, []
        if batch:
            self._batches.put(batch)

    def _acknowledge(self, batch: "Batch[T]", errors: list[SpoolError | None]) -> None:
        self._usual = len(batch)
        for (_, done), error in zip(batch, errors, strict=True):
            if error is None:
                done.callback(None)
            else:
                done.errback(error)

    # On the writer's thread

    def _run(self, started: "Deferred[None]") -> None:
        try:
            self._open()
        except Exception as error:
            self._reactor.callFromThread(started.errback, error)
            return
        self._reactor.callFromThread(started.callback, None)
        while batch := self._take():
            self._reactor.callFromThread(self._acknowledge, batch, self._commit([change for change, _ in batch]))
        self._close()
        self._reactor.callFromThread(self._stopped.callback, None)

    def _take(self) -> "Batch[T]":
        """Return all that waits, or nothing when it is time to stop."""
        batch = self._batches.get() or []
        while batch and not self._batches.empty():
            more = self._batches.get()
            if more is None:
                self._batches.put(None)
                break
            batch += more
        return batch

    def _commit(self, changes: list[T]) -> list[SpoolError | None]:
        """Make the changes durable; return what went wrong with each."""
        try:
            self._transaction(changes)
        except Exception as error:
            if not _is_at_fault(error):
                self._revoked += changes
                self._close()
                return [_spool_error(error)] * len(changes)
            if len(changes) == 1:
                return [_spool_error(error)]
            return [self._commit([change])[0] for change in changes]
        return [None] * len(changes)

    def _transaction(self, changes: list[T]) -> None:
        connection = self._connection or self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._store.apply(connection, changes)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        connection = self._store.connect()
        try:
            if self._revoked:
                connection.execute("BEGIN IMMEDIATE")
                self._store.revoke(connection, self._revoked)
                connection.execute("COMMIT")
                # What the log holds may never have reached the disk: nothing is to be built upon it.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._revoked = []
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # a broken store cannot be closed any better
                connection.close()


def _is_at_fault(error: Exception) -> bool:
    """Whether an error is of the change that caused it; of the store otherwise."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return code & 0xFF in _AT_FAULT
    return not isinstance(error, OSError)


def _spool_error(error: Exception) -> SpoolError:
    """452 where the storage failed: a full, a broken and a read-only disk are the same to a client."""
    reply = LOCAL_ERROR if _is_at_fault(error) else NO_ROOM
    return SpoolError(f"{type(error).__name__}: {error}", reply, is_damage=is_damage(error))


def is_damage(error: Exception) -> bool:
    """Whether an error says that the store is not as it was written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
