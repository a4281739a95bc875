"""Measures rows: every contender once a round, in turn, each time started anew in an empty folder."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench import machine
from bench.obtain import MissingError
from bench.places import WORK
from bench.row import Contender, Outcome, Row, Sample
from bench.server import Place, RunError, started

SHORT = 0.2
"""Seconds below which the share of a core says nothing."""


def measure(row: Row, rounds: int | None, tell: Callable[[str], None]) -> Outcome:
    """A contender that cannot be had, or fails at once or twice, is left out of later rounds; the reason is kept."""
    outcome = Outcome(row)
    failures: Counter[str] = Counter()
    for turn in range(rounds or row.rounds):
        for name, contender in row.contenders.items():
            if failures[name] > (name in outcome.samples):
                continue
            tell(f"{row.name}: round {turn + 1}, {name}")
            try:
                sample = one(row, contender)
            except (MissingError, RunError) as error:
                outcome.missing[name] = str(error)
                failures[name] += 1
            else:
                outcome.samples.setdefault(name, []).append(sample)
    return outcome


def one(row: Row, contender: Contender) -> Sample:
    """One contender, one time; adds the share of the time its core worked, unless it was short or the row knows."""
    core, _ = machine.cores()
    WORK.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
    try:
        folder.chmod(0o755)
        place = Place(folder, machine.free_port(), machine.free_port())
        with started(contender(place), place, core, row.ready) as server:
            begun, used = time.monotonic(), machine.busy_seconds(core)
            try:
                sample = row.measure(server)
            except RunError as error:
                raise RunError(f"{error}; its last words: {server.last_line()}") from None
            took = time.monotonic() - begun
            return {"server": (machine.busy_seconds(core) - used) / took, **sample} if took > SHORT else sample
    finally:
        shutil.rmtree(folder)
