"""What the README shows of a table: every figure of ours beside every peer's, the date, the machine."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.figures import summary, values
from bench.places import PLOTS, PROJECT
from bench.plot import file_name
from bench.row import OURS, Figure, Outcome
from bench.table import number, times

README = PROJECT / "README.md"
HEAD = "| row | work | multid | others (multid ÷ it) |\n|---|---|---:|---|"


def write(machine: Mapping[str, object], outcomes: Sequence[Outcome], readme: Path = README) -> None:
    """Put a table in the place of the last one, between the marks; ValueError where there are none."""
    marks = re.compile(r"(?s)(<!-- begin bench\b[^\n]*-->\n).*(<!-- end bench -->)")
    text, count = marks.subn(
        lambda found: f"{found[1]}{section(machine, outcomes)}\n{found[2]}", readme.read_text("utf-8")
    )
    if count != 1:
        raise ValueError(f"{readme} has no marks of 'bench'")
    readme.write_text(text, "utf-8")


def section(machine: Mapping[str, object], outcomes: Sequence[Outcome]) -> str:
    """Return the text between the marks."""
    rounds = sorted({len(taken) for outcome in outcomes for taken in outcome.samples.values()})
    about = (
        f"{str(machine['date'])[:10]}, {machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
        f"{machine['system']}, Linux {machine['kernel']}, Python {machine['python']}; medians of "
        f"{' to '.join(map(str, dict.fromkeys((rounds[0], rounds[-1]))))} runs."
    )
    lines = [line for outcome in outcomes for line in _lines(outcome)]
    missing = [f"Missing: {name} ({why})." for outcome in outcomes for name, why in outcome.missing.items()]
    return "\n".join([about, "", HEAD, *lines, *(["", *missing] if missing else [])])


def _lines(outcome: Outcome) -> Iterator[str]:
    row = outcome.row
    for place, figure in enumerate(row.figures):
        link = PLOTS.relative_to(PROJECT) / file_name(row.name, figure, is_first=not place)
        work = f"{row.work}: {figure.unit}"
        others = [_beside(outcome, figure, name) for name in outcome.samples if name != OURS]
        ours = values(outcome, OURS, figure.key)
        mine = number(summary(ours).median) if ours else "-"
        yield f"| [{row.name}]({link}) | {work} | **{mine}** | {', '.join(filter(None, others))} |"


def _beside(outcome: Outcome, figure: Figure, name: str) -> str:
    theirs, ours = values(outcome, name, figure.key), values(outcome, OURS, figure.key)
    if not theirs:
        return ""
    against = f" ({times(ours, theirs)})" if ours else ""
    return f"{name} {number(summary(theirs).median)}{against}"
