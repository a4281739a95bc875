"""HTTP over TCP takes a small share of the processor's time, however much is asked: the services come first.

`BURST` seconds of work are done at once, so whoever looks at a page, or scrapes as Prometheus does, never waits. Who
asks without a pause is answered in turn, as fast as `SHARE` of the time allows.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from multid.net.tokens import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE = 0.03
BURST = 0.1


class Share:
    """The time that there is, in seconds of the processor, and who waits for more of it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._bucket = TokenBucket(SHARE, BURST, reactor.seconds())
        self._waiting: deque[Deferred[None]] = deque()
        self._is_spending = False

    def turn(self) -> Deferred[None]:
        """Return what fires when one more may be answered."""
        wait = self._wait()
        if not self._waiting and not wait:
            return succeed(None)
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._reactor.callLater(wait, self._next)
        return turn

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count what a block takes; within another it is part of that."""
        if self._is_spending:
            yield
            return
        self._is_spending = True
        began = time.thread_time()
        try:
            yield
        finally:
            self._is_spending = False
            self._bucket.spend(self._reactor.seconds(), time.thread_time() - began)

    def _wait(self) -> float:
        return self._bucket.wait(self._reactor.seconds(), 0.0)

    def _next(self) -> None:
        with self.spending():
            self._waiting[0].callback(None)
        self._waiting.popleft()
        if self._waiting:
            self._reactor.callLater(self._wait(), self._next)
