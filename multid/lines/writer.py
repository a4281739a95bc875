"""The file output: every batch is one append, every line is in exactly one file, once, whole.

Where the disk takes no more (full, quota, limit, error), writing goes on later at the very octet where it stopped: see
`multid.lines.waiting`. About once a second each open file is looked at: one that was moved away (logrotate `create`)
is opened anew, one that was truncated (`copytruncate`) goes on from its new end; `reopen` does so at once. Rotation by
size cuts between records. Synchronising, compressing and removing happen off the reactor's thread. With `sync: always`
a batch is settled when it is on the disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from multid.lines.format import FORMATS
from multid.lines.logfiles import FileOptions, InThread, LogFiles
from multid.lines.output import Pressure
from multid.lines.record import Batch
from multid.lines.waiting import WaitingOutput

TICK = 1.0
"""Seconds between looks at the open files."""
UNSYNCED = 8 * 1024 * 1024
"""Octets that may wait for the disk with `sync: always` before peers are paused."""


@dataclass
class _Section:
    """What is to be written of a batch to one file, and how far that went."""

    where: str
    data: bytes
    at: int = 0

    @property
    def lines(self) -> int:
        """How many lines are not yet written, one of them perhaps in part."""
        return self.data.count(b"\n", self.at)


class FileWriter(WaitingOutput):
    """An `Output` to one file, or to one for each value of the fields in its path."""

    def __init__(
        self, service: str, options: FileOptions, reactor: Any, in_thread: InThread, pressure: Pressure
    ) -> None:
        super().__init__(service, options.on_full, reactor, pressure)
        self._options = options
        self._render = FORMATS[options.format]
        self._files = LogFiles(service, options, in_thread)
        self._fixed = options.path.expand(service, "", "", 0) if options.path.is_fixed else None
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

    @property
    def is_idle(self) -> bool:
        """Whether all is written, and on the disk where that was promised."""
        return super().is_idle and not self._unsynced

    def reopen(self) -> None:
        """Open anew what was moved away."""
        self._files.look()

    def rotate(self) -> list[str]:
        """Put away every file that holds something."""
        return self._files.rotate_all()

    async def close(self) -> None:
        """Write on if that is possible at all, synchronise, and close every file."""
        self.give_up()
        for call in (self._tick_call, self._sync_call):
            if call is not None and call.active():
                call.cancel()
        await self._files.close(sync=self._options.sync != "never")
        self._settle(self._unsynced)

    def status(self) -> dict[str, Any]:
        """Return path, format and what waits, and why."""
        return {
            "file": self._options.path.text,
            "format": self._options.format,
            "problem": self.problem,
            "waiting_lines": self.waiting_lines,
        }

    # WaitingOutput API

    def parts(self, batch: Batch) -> list[_Section]:
        """Return what goes to each file."""
        if self._fixed is not None:
            return [_Section(self._fixed, self._render(batch))]
        path, source = self._options.path, batch.source
        sections = batch.by_host() if path.has_host else [("", batch)]
        return [
            _Section(path.expand(source.service, source.host, host, batch.time), self._render(some))
            for host, some in sections
        ]

    def put(self, part: _Section) -> None:
        """Append what is left of a section, to one file after another where it grows too large."""
        file = self._files.at(part.where)
        while part.at < len(part.data):
            end = self._files.fitting(file, part.data, part.at)
            if end == part.at:
                file = self._files.rotate(file)
                continue
            part.at += file.append(memoryview(part.data)[part.at : end])
            if self._options.sync != "never":
                self._files.dirty.add(file)
                self._sync_soon()

    def finished(self, batch: Batch) -> None:
        """Settle the batch, or have it settled when it is on the disk."""
        if self._options.sync != "always":
            batch.settle()
            return
        self._unsynced.append(batch)
        self._unsynced_octets += batch.octets
        if self._unsynced_octets > UNSYNCED and not self._behind:
            self._behind = True
            self._pressure(True)

    # By time

    def _tick(self) -> None:
        self._files.look()
        self._tick_call = self._reactor.callLater(TICK, self._tick)

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
        self._settle(batches)
        if self._files.is_dirty:
            self._sync_soon()

    def _settle(self, batches: list[Batch]) -> None:
        for batch in batches:
            batch.settle()
        if self._behind and self._unsynced_octets <= UNSYNCED:
            self._behind = False
            self._pressure(False)
