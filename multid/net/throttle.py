"""How much each peer may use up in a second, and who is beyond that. Pure: the caller passes the monotonic clock.

A peer enters when it uses up more than its bucket holds, and has left as soon as the bucket is full again: one notice
for each, however much happens between.
"""

from collections.abc import Callable
from dataclasses import dataclass

from multid.net.tokens import BucketTable


@dataclass
class Beyond:
    """A peer beyond its rate: since when, and what it was refused."""

    host: str
    since: float
    refused: int = 0


class Throttle:
    """Up to `burst` at once and `rate` a second, for each host; `entered` is told who goes beyond."""

    def __init__(self, rate: float, burst: float, entered: Callable[[str], None]) -> None:
        self._buckets = BucketTable(rate, burst)
        self._burst = burst
        self._entered = entered
        self._beyond: dict[str, Beyond] = {}

    def spend(self, host: str, amount: int, now: float) -> float:
        """Use up an amount, also where it is not there; return the seconds until that is made good."""
        wait = self._buckets.bucket(host, now).spend(now, amount)
        if wait:
            self._enter(host, now)
        return wait

    def allows(self, host: str, amount: int, now: float) -> bool:
        """Use up an amount if it is there; what is refused is counted."""
        if self._buckets.bucket(host, now).take(now, min(amount, self._burst)):
            return True
        self._enter(host, now).refused += amount
        return False

    def returned(self, now: float) -> list[Beyond]:
        """Return who has come back within the rate since this was asked last."""
        back = [one for one in self._beyond.values() if self._buckets.bucket(one.host, now).is_full(now)]
        for one in back:
            del self._beyond[one.host]
        return back

    @property
    def beyond(self) -> list[str]:
        """Who is beyond the rate."""
        return list(self._beyond)

    def _enter(self, host: str, now: float) -> Beyond:
        if host not in self._beyond:
            self._beyond[host] = Beyond(host, now)
            self._entered(host)
        return self._beyond[host]
