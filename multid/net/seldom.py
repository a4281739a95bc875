"""Saying seldom what happens often: a log must not grow with what strangers do. Pure."""

EVERY = 10.0


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
