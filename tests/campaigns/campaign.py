"""What every campaign has: a length, a seed, and a ledger of what was acknowledged and what arrived.

A campaign does its worst to a daemon that runs as a process, and then holds the ledger against what the daemon
promises. All that it draws by lot comes from `random`, so a seed replays its choices (not the machine's timing). Short
and long differ in numbers alone: `times(short, long)`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any


class Campaign:
    """One run; `ledger` is printed at its end, in the order in which it was filled."""

    def __init__(self, seed: int, *, is_long: bool) -> None:
        self.seed = seed
        self.is_long = is_long
        self.random = random.Random(seed)
        self.ledger: Counter[str] = Counter()
        self._began = time.monotonic()

    def times(self, short: Any, long: Any) -> Any:
        """Return the number for this length."""
        return long if self.is_long else short

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def report(self) -> str:
        lines = [f"{'long' if self.is_long else 'short'}, seed {self.seed}, {self.seconds:.1f} s"]
        return "\n".join([*lines, *(f"{_number(value):>14}  {name}" for name, value in self.ledger.items())])


def _number(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def happens(condition: Callable[[], Any], within: float = 30.0) -> Any:
    """Look until a condition of another process holds, or for so many seconds; return what it gave last."""
    deadline = time.monotonic() + within
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def until(condition: Callable[[], Any], what: str, within: float = 30.0) -> Any:
    """Return what a condition gives as soon as it holds; AssertionError if that takes too long."""
    value = happens(condition, within)
    assert value, f"waited {within:g} s in vain for {what}"
    return value
