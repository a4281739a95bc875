"""What an output does that cannot take more for a while: it waits, and goes on exactly where it stopped.

What is left of a batch stays here and the peers are told to wait; every `retry` seconds the very next part is tried
again. A log line says when that begins, if it lasts, and one when it is over. With `on_full: drop` only the batch that
was cut waits; all others are dropped and counted until that one is through.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, Protocol

from twisted.logger import Logger

from multid.lines.output import Pressure
from multid.lines.record import Batch

OnFull = Literal["pause", "drop"]


class Part(Protocol):
    """Some of a batch, for one place."""

    @property
    def where(self) -> str:
        """The place, for the log."""

    @property
    def lines(self) -> int:
        """How many lines are not yet written."""


class _Job:
    """A batch and its parts that are not yet written."""

    def __init__(self, batch: Batch, parts: list[Any]) -> None:
        self.batch = batch
        self.parts: deque[Part] = deque(parts)

    @property
    def lines(self) -> int:
        return sum(part.lines for part in self.parts)

    def give_up(self) -> None:
        """Settle the batch with what is not written as dropped: its last lines, each counted with one octet for LF."""
        lines, batch = self.lines, self.batch
        octets = sum(len(line) + 1 for line in list(batch.lines)[-lines:])
        whole = lines == batch.count or octets > batch.octets
        batch.settle("full", lines, batch.octets if whole else octets)


class WaitingOutput:
    """What outputs that write parts of batches have in common."""

    log = Logger()

    retry = 0.5
    """Seconds between tries to go on."""
    patience = 0.0
    """Seconds without any progress that are not worth a log line."""

    def __init__(self, service: str, on_full: OnFull, reactor: Any, pressure: Pressure) -> None:
        self._service = service
        self._on_full = on_full
        self._reactor = reactor
        self._pressure = pressure
        self._jobs: deque[_Job] = deque()
        self._stopped: tuple[float, str, str] | None = None  # since when (monotonic), where and why
        self._stuck_since = 0.0
        self._said = False
        self._retry_call: Any = None

    def parts(self, batch: Batch) -> list[Any]:
        """Return the parts of a batch."""
        raise NotImplementedError

    def put(self, part: Any) -> None:
        """Write a part, or go on with it; OSError where that is not possible now."""
        raise NotImplementedError

    def finished(self, batch: Batch) -> None:
        """All of a batch is written."""
        batch.settle()

    def write(self, batch: Batch) -> None:
        """Write a batch, or keep it until it can be written."""
        if self._stopped is not None and self._on_full == "drop":
            batch.settle("full", batch.count, batch.octets)
            return
        job = _Job(batch, self.parts(batch))
        if self._stopped is not None or not self._run(job):
            self._jobs.append(job)

    @property
    def problem(self) -> str:
        """Why nothing is written now, if so."""
        return self._stopped[2] if self._stopped else ""

    @property
    def waiting_lines(self) -> int:
        """How many lines wait."""
        return sum(job.lines for job in self._jobs)

    def give_up(self) -> None:
        """Try once more, and drop what cannot be written."""
        self.go_on()
        if self._retry_call is not None and self._retry_call.active():
            self._retry_call.cancel()
        if self._stopped is None:
            return
        _, where, why = self._stopped
        lines = self.waiting_lines
        self.log.error(
            "{service}: {where}: {why}; {lines} lines are lost",
            service=self._service,
            where=where,
            why=why,
            lines=lines,
        )
        while self._jobs:
            self._jobs.popleft().give_up()
        self._stopped = None
        self._press(False)

    def _run(self, job: _Job) -> bool:
        before = len(job.parts)
        while job.parts:
            try:
                self.put(job.parts[0])
            except OSError as error:
                self._stop(job.parts[0].where, error.strerror or str(error), progress=len(job.parts) < before)
                return False
            job.parts.popleft()
        self.finished(job.batch)
        return True

    def _stop(self, where: str, why: str, *, progress: bool) -> None:
        now = self._reactor.seconds()
        if self._stopped is None or progress:
            self._stuck_since = now
        if self._stopped is None:
            self._stopped = (now, where, why)
            self._press(True)
        if not self._said and now - self._stuck_since >= self.patience:
            self._said = True
            waits = "lines are dropped" if self._on_full == "drop" else "peers wait"
            self.log.error(
                "{service}: {where}: {why}; {waits}", service=self._service, where=where, why=why, waits=waits
            )
        if self._retry_call is None or not self._retry_call.active():
            self._retry_call = self._reactor.callLater(self.retry, self.go_on)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not self._jobs

    def go_on(self) -> None:
        """Try to write what waits, in order."""
        while self._jobs:
            if not self._run(self._jobs[0]):
                return
            self._jobs.popleft()
        if self._stopped is None:
            return
        since, where, why = self._stopped
        self._stopped = None
        if self._said:
            self._said = False
            self.log.warn(
                "{service}: {where}: written again after {seconds:.1f} s ({why})",
                service=self._service,
                where=where,
                seconds=self._reactor.seconds() - since,
                why=why,
            )
        self._press(False)

    def _press(self, waits: bool) -> None:
        if self._on_full == "pause":
            self._pressure(waits)
