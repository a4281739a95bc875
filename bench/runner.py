"""Measures rows: every contender once a round, in turn, each time started anew in an empty folder."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import machine
from bench.obtain import MissingError
from bench.places import WORK
from bench.row import Contender, Outcome, Row, Sample
from bench.server import Place, RunError, started


def measure(row: Row, rounds: int | None, tell: Callable[[str], None]) -> Outcome:
    """A contender that cannot be had or does not do the work is left out of later rounds, and named with the reason."""
    outcome = Outcome(row)
    for turn in range(rounds or row.rounds):
        for name, contender in row.contenders.items():
            if name in outcome.missing:
                continue
            tell(f"{row.name}: round {turn + 1}, {name}")
            try:
                outcome.samples.setdefault(name, []).append(one(row, contender))
            except (MissingError, RunError) as error:
                outcome.missing[name] = str(error)
    outcome.samples = {name: samples for name, samples in outcome.samples.items() if samples}
    return outcome


def one(row: Row, contender: Contender) -> Sample:
    """One contender, one time; adds the share of the time its core worked."""
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
            return {**sample, "server": (machine.busy_seconds(core) - used) / (time.monotonic() - begun)}
    finally:
        shutil.rmtree(folder)
