"""Token buckets, and a bounded table of them. Pure: the caller passes the monotonic clock.

A bucket holds up to `burst` tokens and gains `rate` a second. A table holds one bucket a source, at most `limit` of
them: when it is full, a bucket that has filled up again goes first (it is the same as a new one), else the oldest. A
source beyond its rate still gets through by chance, `leak` of the time, so that whoever forges a victim's address
cannot use up all of its answers.
"""

from collections.abc import Callable
from itertools import islice
from random import random

_LOOK_AT = 8
"""How many of the oldest buckets are looked at for one that is full again."""


class TokenBucket:
    """At most `burst` at once and `rate` a second in the long run."""

    __slots__ = ("burst", "rate", "stamp", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.stamp = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take `amount` tokens if they are there."""
        tokens = self.tokens + (now - self.stamp) * self.rate
        self.stamp = now
        tokens = min(tokens, self.burst)
        if tokens < amount:
            self.tokens = tokens
            return False
        self.tokens = tokens - amount
        return True

    def spend(self, now: float, amount: float) -> float:
        """Take `amount`, also what is not there; return the seconds until that is made good, 0 if it was there."""
        self.tokens = min(self.tokens + (now - self.stamp) * self.rate, self.burst) - amount
        self.stamp = now
        return max(0.0, -self.tokens / self.rate)

    def wait(self, now: float, amount: float = 1.0) -> float:
        """Seconds until `amount` tokens are there, 0 if they are now; `amount` is at most `burst`."""
        missing = amount - self.tokens - (now - self.stamp) * self.rate
        return max(0.0, missing / self.rate)

    def is_full(self, now: float) -> bool:
        """Whether the bucket holds all it can, and so is the same as a new one."""
        return self.tokens + (now - self.stamp) * self.rate >= self.burst


class BucketTable:
    """A bucket for each key, in bounded memory."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        leak: float = 0.0,
        limit: int = 8192,
        random: Callable[[], float] = random,
    ) -> None:
        self.rate = rate
        self.burst = burst
        self.leak = leak
        self.limit = limit
        self._random = random
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, key: str, now: float) -> TokenBucket:
        """Return the key's bucket, a full one if it is new."""
        found = self._buckets.get(key)
        if found is None:
            if len(self._buckets) >= self.limit:
                self._make_room(now)
            found = self._buckets[key] = TokenBucket(self.rate, self.burst, now)
        return found

    def take(self, key: str, now: float) -> bool:
        """Whether the key is within its rate, or beyond it and lucky."""
        return self.bucket(key, now).take(now) or self.leaks()

    def leaks(self) -> bool:
        """Whether one that is beyond its rate gets through all the same."""
        return self._random() < self.leak

    def _make_room(self, now: float) -> None:
        oldest = list(islice(self._buckets.items(), _LOOK_AT))
        for key, bucket in oldest:
            if bucket.is_full(now):
                del self._buckets[key]
                return
        del self._buckets[oldest[0][0]]
