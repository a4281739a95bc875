"""What the next hop has not yet acknowledged: in memory, or in a spool on disk.

Both hand out whole messages in order (`read`), are told how many octets of those have arrived (`done`), and hand out
again what had not when the connection broke (`rewind`). A message that had arrived in part is handed out whole again.

A crash of the process loses nothing that is in the spool, and what arrived since its place was last saved comes twice.
A crash of the machine also loses what was put there since then: `saving` makes messages durable, and only then the
place up to which they have arrived; files go when that is durable.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Protocol

from multid.lines.frames import StreamFraming, whole
from multid.lines.logfile import make_folders, sync_path
from multid.lines.record import Batch

SEGMENT = 8 * 1024 * 1024
"""Octets of a spool's file; a file goes when all of it has arrived."""
PIECE = 64 * 1024
"""Octets read from a spool at a time."""

_POSITION = "position"


class Backlog(Protocol):
    """Messages in order, until they have arrived."""

    @property
    def octets(self) -> int:
        """How much has not arrived."""

    def put(self, data: bytes, batch: Batch) -> bool:
        """Take the messages of a batch; False where there is no room. OSError where the disk fails."""

    def read(self) -> bytes:
        """Return the next whole messages, nothing if there are none. OSError where the disk fails."""

    def done(self, octets: int) -> None:
        """So many octets more of what was read have arrived."""

    def rewind(self) -> None:
        """What was read and is not done will be read again."""

    def saving(self) -> Callable[[], None] | None:
        """Return what makes durable all up to now, in any thread and one at a time; None where there is nothing new."""

    def close(self) -> int:
        """Return how many lines are given up, which are settled as dropped."""


class MemoryBacklog:
    """A few MiB; a batch is settled when it has arrived."""

    def __init__(self, limit: int, framing: StreamFraming) -> None:
        self._limit = limit
        self._framing = framing
        self._waiting: deque[tuple[bytes, Batch]] = deque()
        self._sent: deque[tuple[bytes, Batch]] = deque()
        self._done = 0  # octets of the first that was sent
        self.octets = 0

    def put(self, data: bytes, batch: Batch) -> bool:
        """Backlog API."""
        if self.octets and self.octets + len(data) > self._limit:
            return False
        self._waiting.append((data, batch))
        self.octets += len(data)
        return True

    def read(self) -> bytes:
        """Backlog API."""
        if not self._waiting:
            return b""
        self._sent.append(self._waiting.popleft())
        return self._sent[-1][0]

    def done(self, octets: int) -> None:
        """Backlog API."""
        self._done += octets
        while self._sent and self._done >= len(self._sent[0][0]):
            data, batch = self._sent.popleft()
            self._done -= len(data)
            self.octets -= len(data)
            batch.settle()

    def rewind(self) -> None:
        """Backlog API."""
        if self._sent and self._done:
            data, batch = self._sent.popleft()
            arrived = whole(data, self._framing, self._done)
            self.octets -= arrived
            self._sent.appendleft((data[arrived:], batch))
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._done = 0

    def saving(self) -> None:
        """Backlog API: memory is not saved."""

    def close(self) -> int:
        """Backlog API."""
        self.rewind()
        lines = 0
        for _, batch in self._waiting:
            lines += batch.count
            batch.settle("away", batch.count, batch.octets)
        self._waiting.clear()
        self.octets = 0
        return lines


class Spool:
    """Files in a folder; a batch is settled when it is in one. What has not arrived is there after a restart, too."""

    def __init__(self, folder: Path, limit: int, framing: StreamFraming) -> None:
        self._folder = folder
        self._limit = limit
        self._framing = framing
        for parent in make_folders(str(folder)):
            sync_path(parent)
        self._reading = self._saved = self._position()  # the file and the place in it that is read next
        self._sent: deque[tuple[int, int, int]] = deque()  # file, place and size of each piece on its way
        self._done = 0  # octets of the first of them
        self._skip = 0  # octets of what is read next that arrived over an earlier connection
        self._remove_before(self._reading[0])
        self._last = max([*self._numbers(), self._reading[0]])  # the file that is written
        self._writing = self._open(self._last)
        self._dirty = {str(folder), str(self._path(self._last))}  # of what is there not all is on the disk
        self._unsaved: set[str] = set()  # what a save that has begun is to make durable
        self._one_at_a_time = Lock()
        self._is_closed = False
        self._size = self._mend()
        self.octets = sum(self._path(number).stat().st_size for number in self._numbers()) - self._reading[1]

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())

    def _position(self) -> tuple[int, int]:
        numbers = self._numbers()
        with suppress(FileNotFoundError, ValueError):
            number, at = map(int, (self._folder / _POSITION).read_text().split())
            if number in numbers and at <= self._path(number).stat().st_size:
                return number, at
        return (numbers[0] if numbers else 0), 0

    def _remove_before(self, number: int) -> None:
        for old in self._numbers():
            if old < number:
                self._path(old).unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016d}"

    def _open(self, number: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path(number), flags, 0o640)

    def _mend(self) -> int:
        """Cut off a message that a crash left half written."""
        size = whole(self._path(self._last).read_bytes(), self._framing)
        os.truncate(self._writing, size)
        return size

    def put(self, data: bytes, batch: Batch) -> bool:
        """Backlog API."""
        if self.octets and self.octets + len(data) > self._limit:
            return False
        if self._size and self._size + len(data) > SEGMENT:
            self._begin_file()
        self._dirty.add(str(self._path(self._last)))
        self._append(data)
        self._size += len(data)
        self.octets += len(data)
        batch.settle()
        return True

    def _begin_file(self) -> None:
        following = self._open(self._last + 1)
        os.close(self._writing)
        self._writing = following
        self._dirty.add(str(self._folder))
        self._last += 1
        self._size = 0

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._writing, rest) :]
        except OSError:
            os.truncate(self._writing, self._size)
            raise

    def read(self) -> bytes:
        """Backlog API."""
        self._skip_arrived()
        data = self._read_piece(*self._reading)
        if not data and self._reading[0] < self._last:
            self._reading = (self._reading[0] + 1, 0)
            data = self._read_piece(*self._reading)
        if data:
            number, at = self._reading
            self._sent.append((number, at, len(data)))
            self._reading = (number, at + len(data))
        return data

    def _read_piece(self, number: int, at: int) -> bytes:
        size = PIECE
        with self._path(number).open("rb") as file:
            while True:
                file.seek(at)
                data = file.read(size)
                end = whole(data, self._framing)
                if end or len(data) < size:
                    return data[:end]
                size *= 2

    def done(self, octets: int) -> None:
        """Backlog API."""
        self._done += octets
        while self._sent and self._done >= self._sent[0][2]:
            _, _, size = self._sent.popleft()
            self._done -= size
            self.octets -= size

    def rewind(self) -> None:
        """Backlog API."""
        if self._sent:
            self._reading, self._skip = self._sent[0][:2], self._done
        self._sent.clear()
        self._done = 0
        with suppress(OSError):  # then it is done when that is read
            self._skip_arrived()

    def _skip_arrived(self) -> None:
        if self._skip:
            number, at = self._reading
            arrived = whole(self._read_piece(number, at), self._framing, self._skip)
            self._reading, self._skip = (number, at + arrived), 0
            self.octets -= arrived

    def saving(self) -> Callable[[], None] | None:
        """Backlog API."""
        position = self._sent[0][:2] if self._sent else self._reading
        self._unsaved |= self._dirty
        self._dirty = set()
        if position == self._saved and not self._unsaved:
            return None

        def save() -> None:
            with self._one_at_a_time:
                if not self._is_closed:
                    self._save(position)

        return save

    def _save(self, position: tuple[int, int]) -> None:
        for path in self._unsaved:
            sync_path(path)
        self._unsaved = set()
        if position == self._saved:
            return
        unfinished = self._folder / f"{_POSITION}.tmp"
        unfinished.write_text(f"{position[0]} {position[1]}\n")
        sync_path(str(unfinished))
        unfinished.rename(self._folder / _POSITION)
        sync_path(str(self._folder))
        self._saved = position
        self._remove_before(position[0])

    def close(self) -> int:
        """Backlog API: nothing is given up."""
        self.rewind()
        with self._one_at_a_time:  # a save that has begun; one that has not has nothing left to do
            self._is_closed = True
            try:
                self._unsaved |= self._dirty
                self._save(self._reading)
            finally:
                os.close(self._writing)
        return 0
