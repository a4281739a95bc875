"""Saying seldom what happens often: a log must not grow with what strangers do. Pure."""

from dataclasses import dataclass

EVERY = 10.0
CAUSES = 64
OTHERS = "others"


class Seldom:
    """Counts occurrences, and says how many there were at most once in `EVERY` seconds."""

    def __init__(self) -> None:
        self._count = 0
        self._next: float | None = None

    def note(self, now: float) -> int:
        """Count one, and return how many to tell of now, 0 for later."""
        self._count += 1
        if self._next is not None and now < self._next:
            return 0
        self._next = now + EVERY
        count, self._count = self._count, 0
        return count


class SeldomEach:
    """The same for each of many causes: the first time at once, then how often it was since.

    At most `CAUSES` are known at a time; what comes beyond them is one cause together, `OTHERS`.
    """

    def __init__(self) -> None:
        self._causes: dict[str, _Cause] = {}

    def note(self, cause: str, last: str, now: float) -> None:
        """Count an occurrence of a cause; `last` is what else is told of the latest one."""
        if cause not in self._causes and len(self._causes) >= CAUSES:
            cause = OTHERS
        found = self._causes.setdefault(cause, _Cause(now))
        found.count += 1
        found.last = last

    def due(self, now: float) -> list[tuple[str, str, int]]:
        """Return what is to be told now: causes, what else is told of their latest, and how many there were."""
        due = [(cause, found) for cause, found in self._causes.items() if found.due <= now]
        told = [(cause, found.last, found.count) for cause, found in due if found.count]
        for cause, found in due:
            if found.count:
                found.count, found.due = 0, now + EVERY
            else:
                del self._causes[cause]
        return told


@dataclass
class _Cause:
    """What has been counted of a cause since it was told of, and when it may be told of again."""

    due: float
    count: int = 0
    last: str = ""
