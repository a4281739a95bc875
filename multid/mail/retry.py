"""When a recipient is tried again, when its sender is warned, when it is given up (RFC 5321 4.5.4.1). Pure.

The delay before try n + 1 is the n-th of `schedule`, the last one for ever after, made longer or shorter by up to
`jitter` of itself so that mails that failed together do not come back together. A mail is given up once it is
`expire` old and the try just made failed too: however long the daemon was down, nothing expires untried.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Seconds all of them, but for `jitter`, a part of one."""

    schedule: tuple[float, ...] = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
    jitter: float = 0.2
    warn: float | None = 4 * 3600.0
    expire: float = 4 * 86400.0

    def delay(self, attempts: int, random: Callable[[], float]) -> float:
        """Seconds to wait after `attempts` failed tries; `random` gives numbers from 0 to 1."""
        base = self.schedule[min(max(attempts, 1), len(self.schedule)) - 1]
        return base * (1 + self.jitter * (2 * random() - 1))

    def wait(self, due: float, now: float) -> float:
        """Seconds from `now` until `due`, both of the wall clock; at most what `delay` gives, if that was set back."""
        return min(max(0.0, due - now), max(self.schedule) * (1 + self.jitter))

    def is_expired(self, age: float) -> bool:
        """Whether a mail of this age is given up when a try fails."""
        return age >= self.expire

    def is_late(self, age: float) -> bool:
        """Whether the sender of a mail of this age is told that it is late."""
        return self.warn is not None and age >= self.warn
