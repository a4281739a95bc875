"""Outcomes as text: a table a row, with median, spread, ratio and target."""

from collections.abc import Sequence
from math import isinf

from bench.figures import ratio, reached, summary, values
from bench.row import OURS, Figure, Outcome

HEADINGS = ("", "median", "least", "greatest", "server", "load", "multid ÷ it", "to reach", "")


def render(outcome: Outcome) -> str:
    row = outcome.row
    parts = [f"{row.name}: {row.work}"]
    parts += [_figure(outcome, figure) for figure in row.figures]
    parts += [f"  {name}: {_how_often(outcome, name)}, {why}" for name, why in outcome.missing.items()]
    return "\n".join(parts)


def number(value: float) -> str:
    """Four digits or so, and thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def times(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the ratio; a dash where theirs is nothing."""
    value = ratio(ours, theirs)
    return "\N{EN DASH}" if isinf(value) else f"{value:.2f}"


def _how_often(outcome: Outcome, name: str) -> str:
    taken = len(outcome.samples.get(name, []))
    return f"failed, beside {taken} good runs" if taken else "missing"


def _figure(outcome: Outcome, figure: Figure) -> str:
    lines = [(figure.unit, *HEADINGS[1:])]
    lines += [_contender(outcome, figure, name) for name in outcome.row.contenders if values(outcome, name, figure.key)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join("  " + _aligned(line, widths) for line in lines)


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = line
    cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
    return "  ".join(cells).rstrip()


def _contender(outcome: Outcome, figure: Figure, name: str) -> tuple[str, ...]:
    mine = values(outcome, name, figure.key)
    seen = summary(mine)
    shares = (_share(values(outcome, name, "server")), _share(values(outcome, name, "load")))
    ours = values(outcome, OURS, figure.key)
    against = times(ours, mine) if ours and name != OURS else ""
    return (
        name,
        number(seen.median),
        number(seen.least),
        number(seen.greatest),
        *shares,
        against,
        *_target(outcome, figure, name),
    )


def _target(outcome: Outcome, figure: Figure, name: str) -> tuple[str, str]:
    than = "" if name == OURS else name
    for target in figure.targets:
        if target.than == than:
            verdict = reached(outcome, figure, target)
            sign = "≥" if figure.more else "≤"
            return f"{sign} {target.bound:g}", {None: "", True: "reached", False: "not reached"}[verdict and verdict[1]]
    return "", ""


def _share(shares: list[float]) -> str:
    return f"{summary(shares).median:.0%}" if shares else ""
