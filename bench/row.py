"""What a row of the table is: the work, who does it, what is measured, and what multid is to reach."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.server import Command, Place, Server

Sample = Mapping[str, float]
Contender = Callable[[Place], Command]

OURS = "multid"


@dataclass(frozen=True)
class Target:
    """Our figure divided by a peer's (the figure alone, when `than` is empty) is at least, or at most, `bound`."""

    bound: float
    than: str = ""


@dataclass(frozen=True)
class Figure:
    """One number of a sample. `more`: the larger the better, and a target is then a least value, else a greatest."""

    key: str
    unit: str
    more: bool = True
    targets: tuple[Target, ...] = ()

    def meets(self, target: Target, value: float) -> bool:
        return value >= target.bound if self.more else value <= target.bound


@dataclass(frozen=True)
class Row:
    """`contenders` in the order they are shown, multid last; each is measured once a round, in turn, by `measure`."""

    name: str
    work: str
    figures: tuple[Figure, ...]
    contenders: Mapping[str, Contender]
    ready: Callable[[Server], bool]
    measure: Callable[[Server], Sample]
    rounds: int = 3


@dataclass
class Outcome:
    """What a row gave: the samples of each contender, a round each, and why others have none."""

    row: Row
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
