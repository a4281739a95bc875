"""The file output: every batch is one append, every line is in exactly one file, once, whole.

Where the disk takes no more (full, quota, limit, error), what is left of a batch stays here, the peers are told to
wait, and writing goes on at the very octet where it stopped as soon as that is possible; a log line says when it
begins and one when it is over. With `on_full: drop` only the batch that was cut waits, all others are dropped and
counted until the disk takes that one batch again.

About once a second each open file is looked at: one that was moved away (logrotate `create`) is opened anew, one
that was truncated (`copytruncate`) goes on from its new end; `reopen` does so at once. Rotation by size cuts between
records; the next file is open before the old one loses its name. Synchronising, compressing and removing happen off
the reactor's thread. With `sync: always` a batch is settled when it is on the disk.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from multid.lines.format import FORMATS
from multid.lines.logfiles import FileOptions, InThread, LogFiles
from multid.lines.output import Pressure
from multid.lines.record import Batch

RETRY = 0.5
"""Seconds between tries to write on."""
TICK = 1.0
"""Seconds between looks at the open files."""
UNSYNCED = 8 * 1024 * 1024
"""Octets that may wait for the disk with `sync: always` before peers are paused."""


@dataclass
class _Part:
    """What is to be written of a batch to one file, and how far that went."""

    path: str
    data: bytes
    at: int = 0


class _Job:
    """A batch and its parts that are not yet written."""

    def __init__(self, batch: Batch, parts: list[_Part]) -> None:
        self.batch = batch
        self.parts = deque(parts)

    def give_up(self) -> None:
        """Settle the batch with what is not written as dropped: its last lines, each counted with one octet for LF."""
        lines = sum(part.data.count(b"\n", part.at) for part in self.parts)
        octets = sum(len(line) + 1 for line in list(self.batch.lines)[-lines:])
        whole = lines == self.batch.count or octets > self.batch.octets
        self.batch.settle("full", lines, self.batch.octets if whole else octets)


class FileWriter:
    """An `Output` to one file, or to one for each value of the fields in its path."""

    log = Logger()

    def __init__(
        self, service: str, options: FileOptions, reactor: Any, in_thread: InThread, pressure: Pressure
    ) -> None:
        self._service = service
        self._options = options
        self._reactor = reactor
        self._in_thread = in_thread
        self._pressure = pressure
        self._render = FORMATS[options.format]
        self._files = LogFiles(service, options, in_thread)
        self._fixed = options.path.expand(service, "", "", 0) if options.path.is_fixed else None
        self._jobs: deque[_Job] = deque()  # what the disk did not take
        self._stopped: tuple[float, str] | None = None  # since when (monotonic), and why
        self._retry_call: Any = None
        self._tick_call: Any = None
        self._sync_call: Any = None
        self._syncing = False
        self._unsynced: list[Batch] = []
        self._unsynced_octets = 0
        self._behind = False

    # Output API

    def open(self) -> None:
        """Open the file, or find its folder; OSError where that cannot be."""
        if self._fixed is not None:
            self._files.at(self._fixed)
        else:
            os.makedirs(self._options.path.root, 0o750, exist_ok=True)

    def start(self) -> None:
        """Begin to look at the files from time to time."""
        self._files.tidy()
        self._tick()

    def write(self, batch: Batch) -> None:
        """Write a batch, or keep it until it can be written."""
        if self._stopped is not None and self._options.on_full == "drop":
            batch.settle("full", batch.count, batch.octets)
            return
        job = _Job(batch, self._parts(batch))
        if self._stopped is not None or not self._run(job):
            self._jobs.append(job)

    def reopen(self) -> None:
        """Open anew what was moved away."""
        self._files.look()

    async def close(self) -> None:
        """Write on if that is possible at all, synchronise, and close every file."""
        self._write_on()
        for call in (self._retry_call, self._tick_call, self._sync_call):
            if call is not None and call.active():
                call.cancel()
        if self._jobs:
            self.log.error("{service}: {lines} lines are lost", service=self._service, lines=self._waiting_lines())
        for job in self._jobs:
            job.give_up()
        self._jobs.clear()
        if self._stopped is not None and self._options.on_full == "pause":
            self._pressure(False)
        self._stopped = None
        await self._files.close(sync=self._options.sync != "never")
        for batch in self._unsynced:
            batch.settle()

    def status(self) -> dict[str, Any]:
        """Return path, format and what waits, and why."""
        return {
            "file": self._options.path.text,
            "format": self._options.format,
            "problem": self._stopped[1] if self._stopped else "",
            "waiting_lines": self._waiting_lines(),
        }

    def _tick(self) -> None:
        self._files.look()
        self._tick_call = self._reactor.callLater(TICK, self._tick)

    def _await_sync(self, batch: Batch) -> None:
        self._unsynced.append(batch)
        self._unsynced_octets += batch.octets
        if self._unsynced_octets > UNSYNCED and not self._behind:
            self._behind = True
            self._pressure(True)

    def _sync_soon(self) -> None:
        if self._syncing or self._sync_call is not None:
            return
        delay = 0.0 if self._options.sync == "always" else self._options.sync
        self._sync_call = self._reactor.callLater(delay, self._sync)

    def _sync(self) -> None:
        self._sync_call = None
        self._syncing = True
        batches, self._unsynced, self._unsynced_octets = self._unsynced, [], 0
        self._files.sync().addCallback(self._synced, batches)

    def _synced(self, _result: None, batches: list[Batch]) -> None:
        self._syncing = False
        for batch in batches:
            batch.settle()
        if self._behind and self._unsynced_octets <= UNSYNCED:
            self._behind = False
            self._pressure(False)
        if self._files.dirty:
            self._sync_soon()

    def _waiting_lines(self) -> int:
        return sum(part.data.count(b"\n", part.at) for job in self._jobs for part in job.parts)

    # Writing

    def _parts(self, batch: Batch) -> list[_Part]:
        if self._fixed is not None:
            return [_Part(self._fixed, self._render(batch))]
        path = self._options.path
        service, peer = batch.source.service, batch.source.host
        if not path.has_host:
            return [_Part(path.expand(service, peer, "", batch.time), self._render(batch))]
        return [
            _Part(path.expand(service, peer, host, batch.time), self._render(some)) for host, some in batch.by_host()
        ]

    def _run(self, job: _Job) -> bool:
        """Write all of a job; False where the disk takes no more, and the job knows what is left."""
        while job.parts:
            try:
                self._put(job.parts[0])
            except OSError as error:
                self._stop(job.parts[0].path, error.strerror or str(error))
                return False
            job.parts.popleft()
        if self._options.sync == "always":
            self._await_sync(job.batch)
        else:
            job.batch.settle()
        return True

    def _put(self, part: _Part) -> None:
        file = self._files.at(part.path)
        while part.at < len(part.data):
            end = self._files.fitting(file, part.data, part.at)
            if end == part.at:
                file = self._files.rotate(file)
                continue
            part.at += file.append(memoryview(part.data)[part.at : end])
        if self._options.sync != "never":
            self._files.dirty.add(file)
            self._sync_soon()

    def _stop(self, path: str, why: str) -> None:
        if self._stopped is None:
            self._stopped = (self._reactor.seconds(), why)
            waits = "lines are dropped" if self._options.on_full == "drop" else "peers wait"
            self.log.error("{service}: {path}: {why}; {waits}", service=self._service, path=path, why=why, waits=waits)
            if self._options.on_full == "pause":
                self._pressure(True)
        self._retry_call = self._reactor.callLater(RETRY, self._write_on)

    def _write_on(self) -> None:
        while self._jobs:
            if not self._run(self._jobs[0]):
                return
            self._jobs.popleft()
        if self._stopped is None:
            return
        since, why = self._stopped
        self._stopped = None
        self.log.info(
            "{service}: {path}: written again after {seconds:.1f} s ({why})",
            service=self._service,
            path=self._options.path.text,
            seconds=self._reactor.seconds() - since,
            why=why,
        )
        if self._options.on_full == "pause":
            self._pressure(False)
