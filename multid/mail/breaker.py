"""When a destination that failed is tried again. Pure.

Connecting, TLS and AUTH are a destination's: while they fail, no mail is tried and none gets older by it. One mail
probes whether it works again, first after `FIRST` seconds, then after twice as long each time, at most `LAST`.
"""

FIRST, LAST = 5.0, 300.0


class Breaker:
    """Open while a destination must not be tried; times are the reactor's."""

    def __init__(self) -> None:
        self.failures = 0
        self.opens_until = float("-inf")

    def failed(self, now: float) -> None:
        """Connecting failed."""
        self.opens_until = now + min(FIRST * 2**self.failures, LAST)
        self.failures = min(self.failures + 1, 16)

    def succeeded(self) -> None:
        """A connection is there."""
        self.reset()
        self.failures = 0

    def reset(self) -> None:
        """Let the next mail probe at once."""
        self.opens_until = float("-inf")

    def is_open(self, now: float) -> bool:
        """Whether it is too early to try."""
        return now < self.opens_until
