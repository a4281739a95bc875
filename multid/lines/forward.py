"""The next hop: every line to another collector over TCP or TLS, whole and in order, however often it goes away.

What is not known to have arrived is kept: in memory, or in a spool on disk, which outlives a restart. When the
connection breaks, all that the peer's kernel has not acknowledged is sent again over the next one, from the beginning
of the first message that had not wholly arrived. What TCP cannot tell is whether the peer's program read what its
kernel acknowledged: of that, a peer that dies loses what it had not read, and a message that it had read in part comes
twice. Neither framing has an acknowledgement of its own (RFC 6587), so nobody can do better.

When the backlog is full, or its disk fails, peers wait or lose lines, as `on_full` says.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.config.target import Target
from multid.lines.backlog import Backlog, MemoryBacklog, Spool
from multid.lines.frames import ForwardFormat, StreamFraming, encode
from multid.lines.hop import Hop
from multid.lines.link import FAREWELL, HURRY, Link
from multid.lines.logfiles import InThread
from multid.lines.output import Pressure
from multid.lines.record import Batch
from multid.lines.waiting import OnFull

MEMORY = 4 * 1024 * 1024
"""Octets kept in memory where there is no spool."""
TICK = 0.25
"""Seconds between looks at what has arrived, and between times when the spool is made durable."""


@dataclass(frozen=True)
class ForwardOptions:
    """What an operator says of a next hop; `tls` is our half of TLS, an IOpenSSLClientConnectionCreator, to `ssl:`."""

    hop: Target
    framing: StreamFraming = "octet-counted"
    format: ForwardFormat = "rfc5424"
    spool: Path | None = None
    spool_limit: int = 1 << 30
    on_full: OnFull = "pause"
    tls: Any = None


class Forwarder:
    """An `Output` to a next hop over a stream."""

    log = Logger()

    def __init__(
        self, service: str, options: ForwardOptions, reactor: Any, in_thread: InThread, pressure: Pressure
    ) -> None:
        self._service = service
        self._options = options
        self._reactor = reactor
        self._in_thread = in_thread
        self._pressure = pressure
        self._hop = Hop(options.hop, options.tls, self, reactor, self._say)
        self._backlog: Backlog = MemoryBacklog(MEMORY, options.framing)
        self._link: Link | None = None
        self._held: deque[tuple[bytes, Batch]] = deque()  # what the backlog had no room for
        self._problems: dict[str, str] = {}  # of the spool, by what was tried
        self._saving: Deferred[None] | None = None
        self._timers: dict[str, Any] = {}
        self._closing: Deferred[None] | None = None
        self._closed = False

    # Output API

    def open(self) -> None:
        """Find the spool's folder; OSError where that cannot be."""
        folder = self._options.spool
        if folder is not None:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def start(self) -> None:
        """Call the peer, and take up the spool, which another may have held until now."""
        options = self._options
        if options.spool is not None:
            try:
                self._backlog = Spool(options.spool, options.spool_limit, options.framing)
            except OSError as error:
                self._failed("open", error, "lines are kept in memory")
        self._hop.call()
        self._tick()

    def write(self, batch: Batch) -> None:
        """Take a batch, and send it as soon as the peer takes it."""
        if self._held and self._options.on_full == "drop":
            batch.settle("away", batch.count, batch.octets)
            return
        data = encode(batch, self._options.format, self._options.framing)
        if self._held or not self._put(data, batch):
            if not self._held:
                self._begin_waiting()
            self._held.append((data, batch))
        elif self._link is not None:
            self._link.send()

    def reopen(self) -> None:
        """There is nothing that anybody could have moved."""

    def rotate(self) -> list[str]:
        """There is nothing to put away."""
        return []

    @property
    def is_idle(self) -> bool:
        """Whether all has arrived, or is in the spool."""
        return not self._held and (self._options.spool is not None or not self._backlog.octets)

    def go_on(self) -> None:
        """Try whether there is room for what waits."""
        self._take_held()

    async def close(self) -> None:
        """Give the peer some time to take what is left; the rest is in the spool, or lost and said so."""
        if self._link is not None and not self.is_idle:
            await self._farewell(self._end_farewell)
        self._closed = True
        for timer in list(self._timers):
            self._cancel(timer)
        self._hop.stop()
        self._take_held()
        aborting = self._backlog.octets > 0
        self._give_up()
        if self._link is not None:
            farewell = self._farewell(self._link.abort)
            self._link.leave(aborting=aborting)
            await farewell

    def _farewell(self, at_the_end: Callable[[], None]) -> Deferred[None]:
        self._closing = Deferred()
        self._later("farewell", FAREWELL, at_the_end)
        return self._closing

    def _end_farewell(self) -> None:
        self._cancel("farewell")
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.callback(None)

    def _give_up(self) -> None:
        lost = 0
        try:
            lost = self._backlog.close()
        except OSError as error:
            self._failed("close", error, "some lines may come twice, or be lost if the machine crashes")
        for _, batch in self._held:
            lost += batch.count
            batch.settle("away", batch.count, batch.octets)
        if self._held:
            self._held.clear()
            self._end_waiting()
        if lost:
            self.log.error(
                "{service}: {hop}: {lines} lines are lost",
                service=self._service,
                hop=str(self._options.hop),
                lines=lost,
            )

    def status(self) -> dict[str, Any]:
        """Return where to, whether the peer is there, and what waits."""
        return {
            "forward": str(self._options.hop),
            "problem": next(iter(self._problems.values()), self._hop.problem),
            "waiting_octets": self._backlog.octets + sum(len(data) for data, _ in self._held),
        }

    # The backlog

    def _put(self, data: bytes, batch: Batch) -> bool:
        try:
            taken = self._backlog.put(data, batch)
            if not taken and self._link is not None:
                self._link.look()
                taken = self._backlog.put(data, batch)
        except OSError as error:
            self._problems["put"] = f"spool: {error.strerror}"
            return False
        self._problems.pop("put", None)
        return taken

    def _take_held(self) -> None:
        if not self._held:
            return
        while self._held and self._put(*self._held[0]):
            self._held.popleft()
        if not self._held:
            self._end_waiting()
        if self._link is not None:
            self._link.send()

    def _begin_waiting(self) -> None:
        waits = "lines are dropped" if self._options.on_full == "drop" else "peers wait"
        self._say(f"{self._problems.get('put', 'its backlog is full')}; {waits}")
        if self._options.on_full == "pause":
            self._pressure(True)

    def _end_waiting(self) -> None:
        self._say("its backlog has room again")
        if self._options.on_full == "pause":
            self._pressure(False)

    def _save(self) -> None:
        """Make the spool durable, aside."""
        save = None if self._saving is not None else self._backlog.saving()
        if save is None:
            return
        self._saving = saving = self._in_thread(save)
        saving.addCallbacks(lambda _: self._problems.pop("save", None), self._not_saved).addCallback(self._saved)

    def _not_saved(self, failure: Failure) -> None:
        self._failed("save", failure.value, "a crash of the machine may lose what waits")

    def _saved(self, _result: object) -> None:
        self._saving = None

    def _failed(self, what: str, error: BaseException | None, therefore: str) -> None:
        problem = f"spool: {getattr(error, 'strerror', None) or error}"
        if self._problems.get(what) != problem:
            self._say(f"{problem}; {therefore}")
        self._problems[what] = problem

    # Sender API

    def next(self) -> bytes:
        """Return what is to be sent now."""
        try:
            data = self._backlog.read()
        except OSError as error:
            self._failed("read", error, "lines wait in it")
            return b""
        self._problems.pop("read", None)
        return data

    def arrived(self, octets: int) -> None:
        """So many octets more have arrived."""
        if self._closed:
            return
        self._hop.takes()
        self._backlog.done(octets)
        self._take_held()
        if self._closing is not None and not self._backlog.octets:
            self._end_farewell()

    def linked(self, link: Link) -> None:
        """The peer has answered."""
        self._link = link
        self._hop.is_there()
        link.send()

    def unlinked(self, failure: Failure) -> None:
        """The peer could not be reached, or the connection has ended."""
        self._link = None
        if not self._closed:
            self._backlog.rewind()
            self._hop.is_gone(failure)
        if self._closed or self._closing is not None:
            self._end_farewell()
        else:
            self._hop.call_again()

    # By time

    def _tick(self) -> None:
        if self._link is not None:
            self._link.look()
            self._link.send()
        self._take_held()
        self._save()
        self._later("tick", HURRY if self._held else TICK, self._tick)

    def _say(self, what: str) -> None:
        self.log.warn("{service}: {hop}: {what}", service=self._service, hop=str(self._options.hop), what=what)

    def _later(self, name: str, seconds: float, what: Callable[[], None]) -> None:
        def run() -> None:
            del self._timers[name]
            what()

        self._timers[name] = self._reactor.callLater(seconds, run)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
