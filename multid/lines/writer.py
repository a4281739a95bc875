"""The file output: every batch is one append, every line is in exactly one file, once, whole.

Where the disk takes no more (full, quota, limit, error), writing goes on later at the very octet where it stopped: see
`multid.lines.waiting`. About once a second each open file is looked at: one that was moved away (logrotate `create`)
is opened anew, one that was truncated (`copytruncate`) goes on from its new end; `reopen` does so at once. Rotation by
size cuts between records. Synchronising, compressing and removing happen off the reactor's thread.

With `sync: always` a batch is settled when it is on the disk. Where it does not get there, nothing more is written;
what was appended and may be lost is kept, and every `retry` seconds written once more to the same place and
synchronised. With a duration nothing is kept: that the disk failed is said, and when it works again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from multid.lines.format import FORMATS
from multid.lines.logfile import make_folders, sync_path
from multid.lines.logfiles import FileOptions, InThread, LogFiles, Unsynced
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
        self._syncing: Deferred[None] | None = None
        self._sync_problem = ""
        self._is_closing = False
        self._unsynced: list[Batch] = []
        self._unsynced_octets = 0
        self._behind = False

    # Output API

    def open(self) -> None:
        """Open the file, or find its folder; OSError where that cannot be."""
        if self._fixed is not None:
            self._files.at(self._fixed)
        else:
            for folder in make_folders(self._options.path.root):
                if self._options.sync != "never":
                    sync_path(folder)

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
        self._is_closing = True
        self._files.hurry()
        for call in (self._tick_call, self._sync_call):
            if call is not None and call.active():
                call.cancel()
        if self._syncing is not None:
            await self._syncing
        if self._is_suspect:
            await self._sync()
        self.give_up()
        await self._sync()
        self._lose_unsynced()
        await self._files.close()

    def go_on(self) -> None:
        """Try to write what waits, in order, as soon as what was written is on the disk."""
        if not self._is_suspect:
            super().go_on()
        elif self._syncing is None and not self._is_closing:
            self._sync()

    def status(self) -> dict[str, Any]:
        """Return path, format and what waits, and why."""
        return {
            "file": self._options.path.text,
            "format": self._options.format,
            "problem": self.problem or self._sync_problem,
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
            part.at += self._files.append(file, memoryview(part.data)[part.at : end])
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

    @property
    def _is_suspect(self) -> bool:
        """Whether what is kept must get to the disk before anything else is written."""
        return bool(self._sync_problem) and self._options.sync == "always"

    def _sync_soon(self) -> None:
        sync = self._options.sync
        if sync == "never" or self._syncing is not None or self._sync_call is not None or self._is_closing:
            return
        self._sync_call = self._reactor.callLater(0.0 if sync == "always" else sync, self._sync)

    def _sync(self) -> Deferred[None]:
        self._sync_call = None
        batches, self._unsynced, self._unsynced_octets = self._unsynced, [], 0
        self._syncing = syncing = self._files.sync().addCallback(self._synced, batches)
        if syncing.called:
            self._syncing = None
        return syncing

    def _synced(self, unsynced: Unsynced | None, batches: list[Batch]) -> None:
        self._syncing = None
        if unsynced is not None:
            self._not_synced(unsynced, batches)
            return
        if self._sync_problem:
            self._synced_again()
        self._settle(batches)
        if self._files.is_dirty:
            self._sync_soon()

    def _not_synced(self, unsynced: Unsynced, batches: list[Batch]) -> None:
        where, why = unsynced
        was, self._sync_problem = self._sync_problem, f"not on the disk: {why}"
        if self._options.sync == "always":
            self._unsynced = batches + self._unsynced
            if not self._is_closing:
                self._stop(where, self._sync_problem, progress=False)
        elif not was:
            self.log.error(
                "{service}: {where}: {why}; a crash of the machine may lose lines written since {seconds:g} s",
                service=self._service,
                where=where,
                why=self._sync_problem,
                seconds=self._options.sync,
            )

    def _synced_again(self) -> None:
        self._sync_problem = ""
        if self._options.sync == "always":
            self.go_on()
        else:
            self.log.warn(
                "{service}: {file}: lines get to the disk again", service=self._service, file=self._options.path.text
            )

    def _lose_unsynced(self) -> None:
        batches, self._unsynced = self._unsynced, []
        self._let_go_on()
        for batch in batches:
            batch.settle("unsynced", batch.count, batch.octets)
        if batches:
            self.log.error(
                "{service}: {file}: {why}; {lines} lines may be lost",
                service=self._service,
                file=self._options.path.text,
                why=self._sync_problem,
                lines=sum(batch.count for batch in batches),
            )

    def _settle(self, batches: list[Batch]) -> None:
        for batch in batches:
            batch.settle()
        self._let_go_on()

    def _let_go_on(self) -> None:
        if self._behind and self._unsynced_octets <= UNSYNCED:
            self._behind = False
            self._pressure(False)
