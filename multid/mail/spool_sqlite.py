"""The spool on disk: small mails whole in SQLite, the octets of large ones in files beside it.

In `path` lie `spool.db` (WAL, synchronous=FULL), `content/ID` (contents of more than `inline` octets), `incoming/`
(contents not committed yet) and `lock`, which one process holds. What a Deferred acknowledges is on disk: the content
file first (fsync, rename, fsync of the directory), then the row, with all rows that wait (`multid.mail.group_commit`).
A crash leaves at most files without a row; `open` removes them, and sets a mail aside whose file has gone.

Below `minimum_free` octets on the file system, and where that is read-only, `begin` refuses (452 4.3.1), so that what
is in the spool can still be worked off. No call blocks the reactor: rows are written by one thread and read by two, of
which one answers what an operator asks, so that he does not wait for the queue; files are written by a few.

Where the database turns out to be damaged that is said once, in the log and as `damage`, and from then on `begin`
refuses (451 4.3.0): what can be read is still delivered, and nothing is built upon what cannot.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from multid.mail import schema
from multid.mail.durable import sync_directory
from multid.mail.envelope import Envelope, QueueIds, queue_id, queue_number
from multid.mail.group_commit import GroupCommit
from multid.mail.incoming import DiskIncoming
from multid.mail.interface import SpoolError
from multid.mail.queued import Content, MailState, Query, QueuedMail, Update, new_mail, new_report
from multid.mail.reader import Reader
from multid.mail.reply import NO_ROOM
from multid.mail.spool import tell_nobody

T = TypeVar("T")

_FREE_LASTS = 0.5
"""Seconds for which what is known of the free space is good enough."""

_SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA busy_timeout = 10000;
"""

Change = QueuedMail | Update


class _Rows:
    """The store of the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.executescript(_SETTINGS)
            schema.prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def apply(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
        schema.insert(connection, [schema.new_mail(mail) for change in changes for mail in _new(change)])
        updates = [change for change in changes if isinstance(change, Update)]
        for change in updates:
            if not change.delete:
                schema.update(connection, change)
        schema.delete(connection, [queue_number(change.id) for change in updates if change.delete])

    def revoke(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
        schema.delete(connection, [queue_number(mail.envelope.id) for change in changes for mail in _new(change)])


class SqliteSpool:
    """See the module; `multid.mail.interface.Spool` says what each call promises."""

    log = Logger()

    def __init__(self, reactor: Any, path: Path, *, inline: int = 128 * 1024, minimum_free: int = 64 << 20) -> None:
        self.stored: Callable[[QueuedMail], None] = tell_nobody
        self.new_state = MailState.READY
        self.inline = inline
        self.minimum_free = minimum_free
        self.reactor = reactor
        self.path = path
        self.new_id = QueueIds()
        self.damage = ""
        self._database = path / "spool.db"
        self._rows = GroupCommit[Change](reactor, _Rows(self._database))
        self._files = ThreadPool(0, 4, "multid-content")
        self._reader = Reader(reactor, self._database, "multid-read")
        self._lister = Reader(reactor, self._database, "multid-list")
        self._in_files: set[str] = set()
        self._lock: int | None = None
        self._free, self._free_at = 0, float("-inf")

    # Opening and closing

    def open(self) -> Deferred[None]:
        """Take the lock, bring the tables up to date, sweep what a crash left."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._files.start()
        self._reader.start()
        self._lister.start()
        try:
            self._take_lock()
            await self._rows.start()
            await self._sweep()
        except (OSError, sqlite3.Error, schema.SchemaError, SpoolError) as error:
            self._let_go()
            raise SpoolError(f"cannot use the spool {self.path}: {error}") from error

    def close(self) -> Deferred[None]:
        """Write what was submitted, and let go of everything."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self._rows.stop()
        self._let_go()

    def _let_go(self) -> None:
        self._files.stop()
        self._reader.stop()
        self._lister.stop()
        if self._lock is not None:
            os.close(self._lock)

    def _take_lock(self) -> None:
        for directory in (self.path, self.path / "content", self.path / "incoming"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 20).decode("ascii", "replace").strip()
            os.close(lock)
            raise SpoolError(f"process {owner or 'unknown'} uses it") from None
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        self._lock = lock

    async def _sweep(self) -> None:
        known = await self._reader.call(schema.numbers_in_files)
        self._in_files = {queue_id(number) for number in known}
        for id_ in await self.in_thread(self._sweep_files):
            self.log.error("{mail}: set aside: its content file is missing", mail=id_)
            await self.update(Update(id_, state=MailState.QUARANTINED, note="the content file is missing"))

    def _sweep_files(self) -> set[str]:
        names = {path.name for path in (self.path / "content").iterdir()}
        left = [self.path / "content" / name for name in names - self._in_files]
        for path in [*left, *(self.path / "incoming").iterdir()]:
            try:
                path.unlink()
            except IsADirectoryError:
                self.log.warn("{path}: a folder that is not the spool's, left as it is", path=str(path))
        sync_directory(self.path)
        return self._in_files - names

    # Mails that come in

    def begin(self, size: int) -> DiskIncoming:
        """Open a mail; SpoolError (452 4.3.1) where the disk is too full for it."""
        if self.damage:
            raise SpoolError(self.damage)
        now = self.reactor.seconds()
        if not 0 <= now - self._free_at < _FREE_LASTS:
            self._free, self._free_at = self._free_space(), now
        if self._free - size < self.minimum_free:
            raise SpoolError(f"{self._free} octets free under {self.path}", NO_ROOM)
        self._free -= size
        return DiskIncoming(self, self.new_id())

    def _free_space(self) -> int:
        try:
            state = os.statvfs(self.path)
        except OSError as error:
            raise SpoolError(f"{self.path}: {error}", NO_ROOM) from error
        if state.f_flag & os.ST_RDONLY:
            # What is open already may still be written, but nothing that a mail needs can be opened.
            raise SpoolError(f"{self.path}: read-only file system", NO_ROOM)
        has_names = not state.f_files or state.f_favail
        return state.f_bavail * state.f_frsize if has_names else -1

    def insert(self, envelope: Envelope, content: Content) -> Deferred[None]:
        """Store a mail; a content file is durable already, and is removed if the row cannot be written."""
        mail = new_mail(envelope, content, self.new_state)
        done = self._submit(mail)
        if content.data is None:
            self._in_files.add(envelope.id)
            done.addErrback(self._remove_content, envelope.id)
        return done.addCallback(self._tell, mail)

    def _tell(self, result: None, *mails: QueuedMail) -> None:
        for mail in mails:
            self.stored(mail)

    # Mails that are there

    def scan(self) -> Deferred[list[tuple[str, MailState, float]]]:
        """Return id, state and earliest due time of every mail."""
        return self._reader.call(schema.scan)

    def load(self, id_: str) -> Deferred[QueuedMail | None]:
        """Return a mail with its content."""
        return self._read(self._reader, schema.load, id_, self.content_path(id_))

    def select(self, query: Query) -> Deferred[list[QueuedMail]]:
        """Return the mails that a query names."""
        return self._read(self._lister, schema.select, query)

    def update(self, change: Update) -> Deferred[None]:
        """Make a change of one mail."""
        done = self._submit(change)
        if change.delete and change.id in self._in_files:
            done.addCallback(self._remove_content, change.id)
        return done.addCallback(self._tell, *_new(change)) if change.reports else done

    def content_path(self, id_: str) -> str:
        """Where the content of a large mail lies."""
        return f"{self.path}/content/{id_}"

    def _remove_content(self, result: T, id_: str) -> Deferred[T]:
        self._in_files.discard(id_)
        removed = self.in_thread(Path(self.content_path(id_)).unlink, missing_ok=True)
        removed.addErrback(self._content_stays, id_)
        return removed.addCallback(lambda _: result)

    def _content_stays(self, failure: Failure, id_: str) -> None:
        failure.trap(OSError)
        why = failure.getErrorMessage()
        self.log.error("{mail}: its content stays until the next start: {why}", mail=id_, why=why)

    # The database

    def _submit(self, change: Change) -> Deferred[None]:
        return self._rows.submit(change).addErrback(self._note_damage)

    def _read(self, reader: Reader, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return reader.call(work, *arguments).addErrback(self._note_damage)

    def _note_damage(self, failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, SpoolError) and error.is_damage and not self.damage:
            self.damage = f"the spool {self.path} is damaged: {error}"
            self.log.critical("{damage}; no mail is accepted until it is put right and opened anew", damage=self.damage)
        return failure

    def in_thread(self, work: Callable[..., T], *arguments: Any, **keywords: Any) -> Deferred[T]:
        """Do something with files outside the reactor's thread."""
        return deferToThreadPool(self.reactor, self._files, work, *arguments, **keywords)


def _new(change: Change) -> Iterable[QueuedMail]:
    """Return the mails that a change puts into the spool."""
    if isinstance(change, QueuedMail):
        return (change,)
    return [new_report(report) for report in change.reports]
