"""Median, spread, and the ratio between two contenders measured in turn; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.row import OURS, Figure, Outcome, Target


@dataclass(frozen=True)
class Summary:
    """The middle of the samples and the outermost."""

    median: float
    least: float
    greatest: float


def summary(values: Sequence[float]) -> Summary:
    """`values` must hold one at least."""
    return Summary(median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios round by round: neighbours in time share what else the machine did."""
    pairs = list(zip(ours, theirs, strict=False))
    return median(mine / other for mine, other in pairs) if all(other for _, other in pairs) else float("inf")


def values(outcome: Outcome, contender: str, key: str) -> list[float]:
    return [sample[key] for sample in outcome.samples.get(contender, []) if key in sample]


def reached(outcome: Outcome, figure: Figure, target: Target) -> tuple[float, bool] | None:
    """What `target` is compared with and whether that is good enough; None when it was not measured."""
    ours = values(outcome, OURS, figure.key)
    theirs = values(outcome, target.than, figure.key)
    if not ours or (target.than and not theirs):
        return None
    value = ratio(ours, theirs) if target.than else median(ours)
    return value, figure.meets(target, value)
