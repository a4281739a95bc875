"""Outcomes as JSON, with the date and the machine: one file a run, below `var/bench/results`."""

import json
from collections.abc import Mapping
from pathlib import Path

from bench.figures import ratio, summary, values
from bench.places import RESULTS
from bench.row import OURS, Outcome


def write(machine: Mapping[str, object], content: Mapping[str, object], folder: Path = RESULTS) -> Path:
    """`content` is what was measured, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{str(machine['date']).replace(':', '-')}.json"
    path.write_text(json.dumps({"machine": machine, "measured": content}, indent=1, ensure_ascii=False) + "\n")
    return path


def row(outcome: Outcome) -> dict[str, object]:
    return {
        "work": outcome.row.work,
        "figures": {figure.key: _figure(outcome, figure.key, figure.unit) for figure in outcome.row.figures},
        "samples": outcome.samples,
        "missing": outcome.missing,
    }


def _figure(outcome: Outcome, key: str, unit: str) -> dict[str, object]:
    ours = values(outcome, OURS, key)
    medians = {
        name: summary(values(outcome, name, key)).median for name in outcome.samples if values(outcome, name, key)
    }
    peers = [name for name in medians if ours and name != OURS and all(values(outcome, name, key))]  # none is nothing
    ratios = {name: ratio(ours, values(outcome, name, key)) for name in peers}
    return {"unit": unit, "median": medians, "multid divided by": ratios}
