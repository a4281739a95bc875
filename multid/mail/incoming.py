"""A mail on its way to disk: in memory as long as it is small, else written to a file while it comes in.

At most one thread writes a mail's file at a time, taking all that has come in meanwhile; a sender that is faster than
the disk is paused when `HIGH_WATER` octets wait. The first error is kept for `commit`, and later octets are dropped.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from multid.mail.durable import DurableFile
from multid.mail.interface import SpoolError
from multid.mail.queued import Content
from multid.mail.reply import NO_ROOM

if TYPE_CHECKING:
    from multid.mail.envelope import Envelope
    from multid.mail.spool_sqlite import SqliteSpool

HIGH_WATER = 256 * 1024
"""Octets of one mail that wait for the disk when its sender is paused."""


class DiskIncoming:
    """See the module, and `multid.mail.interface.Incoming`."""

    def __init__(self, spool: "SqliteSpool", id_: str) -> None:
        self.id = id_
        self._spool = spool
        self._parts: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._file: DurableFile | None = None
        self._pump: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None
        self._error: OSError | None = None
        self._ended = False

    def append(self, data: bytes) -> Deferred[None] | None:
        """Take octets, to memory or to the file."""
        if self._error or self._ended:
            return None
        self._parts.append(data)
        self._waiting += len(data)
        self._size += len(data)
        if self._size > self._spool.inline and self._pump is None:
            self._pump = Deferred.fromCoroutine(self._write())
        if self._waiting <= HIGH_WATER or self._pump is None:
            return None
        self._drained = Deferred()
        return self._drained

    async def _write(self) -> None:
        """Write what waits until nothing does."""
        while self._parts and not self._error and not self._ended:
            parts, self._parts, self._waiting = self._parts, [], 0
            try:
                await self._spool.in_thread(self._write_in_thread, parts)
            except OSError as error:
                self._error = error
            drained, self._drained = self._drained, None
            if drained is not None:
                drained.callback(None)
        self._pump = None

    def _write_in_thread(self, parts: list[bytes]) -> None:
        if self._file is None:
            directory = self._spool.path / "incoming"
            self._file = DurableFile(directory / self.id, Path(self._spool.content_path(self.id)))
        self._file.write(parts)

    def commit(self, envelope: "Envelope") -> Deferred[None]:
        """Make the mail durable: its file, then its row."""
        if self._size <= self._spool.inline:
            self._ended = True
            data, self._parts = b"".join(self._parts), []
            return self._spool.insert(envelope, Content(self._size, data))
        return Deferred.fromCoroutine(self._commit(envelope))

    async def _commit(self, envelope: "Envelope") -> None:
        try:
            await self._finish()
        except OSError as error:
            await self._discard()
            raise SpoolError(f"{type(error).__name__}: {error}", NO_ROOM) from error
        await self._spool.insert(envelope, Content(self._size, path=self._spool.content_path(self.id)))

    async def _finish(self) -> None:
        if self._pump is not None:
            await self._pump
        self._ended = True
        if self._error is not None:
            raise self._error
        if self._file is not None:
            await self._spool.in_thread(self._file.commit)

    def abort(self) -> None:
        """Forget the mail; what a thread has begun is removed when it ends."""
        if not self._ended:
            self._ended = True
            self._parts = []
            Deferred.fromCoroutine(self._discard())

    async def _discard(self) -> None:
        if self._pump is not None:
            await self._pump
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # the next start sweeps it
                await self._spool.in_thread(file.abort)
