"""The budget of file descriptors: connections may not take those that files, rotation and deliveries need.

A process at its limit can open nothing, not even the file it must rotate to. So connections are counted against
the limit less a reserve; at the budget listeners stop accepting (the kernel's queue holds the clients) and go on
as soon as a connection ends.
"""

import resource
from collections.abc import Callable


class Descriptors:
    """How many connections the process may hold; `take` before one, `give_back` after it."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit if limit is not None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.reserve = min(256, max(32, self.limit // 10))
        self.taken = 0
        self._waiting: list[Callable[[], None]] = []

    @property
    def available(self) -> int:
        """Connections that may still be taken."""
        return self.limit - self.reserve - self.taken

    def take(self) -> bool:
        """Count one connection; False where the budget is used up."""
        if self.available <= 0:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Count one connection less, and call everybody who waits for one."""
        self.taken -= 1
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()

    def wait(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when a connection has been given back."""
        self._waiting.append(resume)
