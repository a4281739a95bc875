"""The open files of one output: which is current, when it is put away, what happens to it then.

The next file is open before the old one loses its name, so a process without a descriptor to spare goes on in the
old one. What synchronises, compresses or removes runs off the reactor's thread, and `close` waits for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.lines.format import Format
from multid.lines.logfile import LogFile
from multid.lines.path import PathTemplate
from multid.lines.rotation import Interrupted, Rotation, put_away, tidy
from multid.lines.waiting import OnFull

OPEN_FILES = 32
"""Files kept open at a time, where the path depends on the line."""
POSTPONED = 10.0
"""Seconds until a rotation is tried again that could not be."""

_NEXT = ".next"

Sync = Literal["never", "always"] | float
Unsynced = tuple[str, str]
"""The path of a file that is not known to be on the disk, and why."""
InThread = Callable[[Callable[[], None]], "Deferred[None]"]


@dataclass(frozen=True)
class FileOptions:
    """What an operator says of a file output."""

    path: PathTemplate
    format: Format = "text"
    mode: int = 0o640
    rotation: Rotation = field(default_factory=Rotation)
    sync: Sync = "never"
    on_full: OnFull = "pause"


class LogFiles:
    """Files by their paths."""

    log = Logger()

    def __init__(self, service: str, options: FileOptions, in_thread: InThread) -> None:
        self._service = service
        self._options = options
        self._rotation = options.rotation
        self._in_thread = in_thread
        self._files: dict[str, LogFile] = {}  # the one used last comes last
        self._dirty: set[LogFile] = set()
        self._expires: dict[LogFile, float] = {}
        self._no_rotation_before = 0.0
        self._background: set[Deferred[None]] = set()
        self._tidying: dict[str, bool] = {}
        self._is_hurried = False

    def at(self, path: str) -> LogFile:
        """Return the file to write to now; OSError where it cannot be opened."""
        file = self._files.get(path)
        if file is None:
            return self._open(path)
        if not self._options.path.is_fixed:
            self._files[path] = self._files.pop(path)
        if self._expires[file] <= time.time() and file.size and not file.torn:
            return self.rotate(file)
        return file

    def fitting(self, file: LogFile, data: bytes, at: int) -> int:
        """Return up to where data, from `at`, goes into the file; to `at` where the file must be put away first."""
        limit = self._rotation.size
        if limit is None or file.size + len(data) - at <= limit or time.time() < self._no_rotation_before:
            return len(data)
        end = data.rfind(b"\n", at, at + max(0, limit - file.size)) + 1
        if end:
            return end
        if file.torn or not file.size:  # a record is never cut, even if it is larger than the file may be
            return data.find(b"\n", at) + 1
        return at

    def rotate(self, file: LogFile) -> LogFile:
        """Put a file away and return the next one, or the same where that cannot be."""
        now = time.time()
        try:
            if file.has_moved():
                return self._replace(file, self._open(file.path))
            following = LogFile(file.path + _NEXT, self._options.path.root, self._options.mode)
        except OSError as error:
            return self._postpone(file, error)
        try:
            dated = put_away(file.name, file.folder, now)
            following.rename(file.path)
        except OSError as error:
            following.close()
            return self._postpone(file, error)
        file.path = os.path.join(os.path.dirname(file.path), dated)
        return self._replace(file, self._adopt(following))

    def rotate_all(self) -> list[str]:
        """Put away every file that holds something and is not cut; return their new names."""
        files = [file for file in self._files.values() if file.size and not file.torn]
        return [file.path for file in files if self.rotate(file) is not file]

    def look(self) -> None:
        """Go on in a new file where one was moved away, put away those whose time has come; what is cut waits."""
        now = time.time()
        for file in list(self._files.values()):
            if file.torn:
                continue
            if file.has_moved():
                self._follow(file)
            elif file.size and self._expires[file] <= now:
                self.rotate(file)

    def tidy(self) -> None:
        """See to what was put away of every open file."""
        for file in self._files.values():
            self._tidy(file)

    @property
    def is_dirty(self) -> bool:
        """Whether `sync` has something to do."""
        return bool(self._dirty)

    def append(self, file: LogFile, data: memoryview) -> int:
        """Append as much as the disk takes, and return how much that is; OSError where it takes nothing."""
        written = file.append(data)
        if self._options.sync == "always":
            file.keep(data[:written])
        if self._options.sync != "never":
            self._dirty.add(file)
        return written

    def sync(self) -> Deferred[Unsynced | None]:
        """Make durable what was appended; the result comes when it is, or is the file and why it is not.

        With `sync: always` that file is tried again the next time.
        """
        syncs = [(file, len(file.kept), set(file.names_in), file.syncing()) for file in self._dirty]
        self._dirty.clear()
        errors: dict[LogFile, OSError] = {}

        def all_of_them() -> None:
            for file, _, _, sync in syncs:
                try:
                    sync()
                except OSError as error:
                    errors[file] = error

        def done(_result: None) -> Unsynced | None:
            for file, kept, folders, _ in syncs:
                if file not in errors:
                    file.names_in -= folders
                    self._is_synced(file, kept)
                elif file.kept:
                    file.is_suspect = True
                    self._dirty.add(file)
                elif file.is_retired:
                    file.close()
            return next(((file.path, error.strerror or str(error)) for file, error in errors.items()), None)

        return self._detach(all_of_them).addCallback(done)

    def _is_synced(self, file: LogFile, kept: int) -> None:
        del file.kept[:kept]
        file.is_suspect = False
        if file.is_retired and not file.kept and file not in self._dirty:
            file.close()

    def hurry(self) -> None:
        """Compress no more: the end is near, and what is not done is done at the next start."""
        self._is_hurried = True

    async def close(self) -> None:
        """Close every file, and wait for what goes on in the background."""
        for file in list(self._files.values()):
            self._retire(file)
        for file in self._dirty:
            file.close()
        self._files.clear()
        await DeferredList(list(self._background))

    def _open(self, path: str) -> LogFile:
        while len(self._files) >= OPEN_FILES:
            self._retire(self._files.pop(next(iter(self._files))))
        return self._adopt(LogFile(path, self._options.path.root, self._options.mode))

    def _adopt(self, file: LogFile) -> LogFile:
        if file.mended:
            self.log.warn("{service}: {path}: ended a torn record", service=self._service, path=file.path)
        self._files[file.path] = file
        self._expires[file] = self._rotation.expires(file.modified if file.size else time.time())
        return file

    def _follow(self, file: LogFile) -> None:
        try:
            self._replace(file, self._open(file.path))
        except OSError as error:
            self._complain(file, error)

    def _replace(self, file: LogFile, following: LogFile) -> LogFile:
        self._tidy(following)
        self._retire(file)
        return following

    def _postpone(self, file: LogFile, error: OSError) -> LogFile:
        self._no_rotation_before = self._expires[file] = time.time() + POSTPONED
        self._complain(file, error)
        return file

    def _complain(self, file: LogFile, error: OSError) -> None:
        self.log.error(
            "{service}: {path}: {why}; lines go where they went",
            service=self._service,
            path=file.path,
            why=error.strerror or str(error),
        )

    def _retire(self, file: LogFile) -> None:
        del self._expires[file]
        if file not in self._dirty and not file.kept:
            file.close()
            return
        file.is_retired = True
        if file in self._dirty and sum(other.is_retired for other in self._dirty) > OPEN_FILES:
            self._sync_now(file)

    def _sync_now(self, file: LogFile) -> None:
        """Wait for the disk rather than have ever more files open for its sake."""
        with suppress(OSError):  # it stays to be told of with the others
            file.syncing()()
            self._dirty.remove(file)
            self._is_synced(file, len(file.kept))

    def _tidy(self, file: LogFile) -> None:
        """Begin to tidy up beside a file, or once more when that is being done."""
        if self._rotation == Rotation():
            return
        name, path = file.name, file.path
        if path in self._tidying:
            self._tidying[path] = True
            return
        self._tidying[path] = False
        # Opened anew: one from dup(2) shares its place in a listing with the reactor's, and names would come twice.
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=file.folder)

        def work() -> None:
            try:
                with suppress(Interrupted):
                    tidy(self._rotation, name, folder, time.time(), lambda: not self._is_hurried)
            finally:
                os.close(folder)

        def done(_result: None) -> None:
            again = self._tidying.pop(path)
            if again and path in self._files:
                self._tidy(self._files[path])

        self._detach(work).addCallback(done)

    def _detach(self, work: Callable[[], None]) -> Deferred[None]:
        """Run work in a thread; a failure is logged and is no reason to stop."""
        running = self._in_thread(work)
        self._background.add(running)

        def ended(result: Failure | None) -> None:
            self._background.discard(running)
            if isinstance(result, Failure):
                self.log.failure("{service}: a log file", result, service=self._service)

        return running.addBoth(ended)
