"""A reactor of the test's own: real sockets, but turns and time only as the test says."""

import os
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.tcp import Connection

from multid.net.descriptors import Descriptors
from multid.net.sockets import SocketStore
from multid.service import Runtime


class Loop(EPollReactor):
    """An epoll reactor that is turned by hand and whose clock stands until it is advanced."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def seconds(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, with one turn at its end."""
        self.now += seconds
        self.turn()

    def turn(self) -> None:
        self.runUntilCurrent()
        self.doIteration(0)

    def until(self, condition: Callable[[], Any], within: float = 10.0) -> Any:
        """Turn until the condition holds, and return what it gave; the clock of the loop stands."""
        deadline = time.monotonic() + within
        while True:
            self.runUntilCurrent()
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, "waited in vain"
            self.doIteration(0.01)

    def result(self, awaitable: Any) -> Any:
        """Turn until a Deferred or coroutine has a result; return or raise it."""
        deferred = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.until(lambda: results)
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def getThreadPool(self) -> Any:
        """IReactorThreads API; this reactor never runs, so the pool is started when it is first asked for."""
        pool = super().getThreadPool()
        if not pool.started:
            pool.start()
        return pool

    def close(self) -> None:
        for call in self.getDelayedCalls():
            call.cancel()
        for selectable in self.removeAll():
            if isinstance(selectable, Connection):
                selectable.socket.close()
        self.threadpool and self.getThreadPool().stop()
        self._poller.close()
        for end in (self.waker.i, self.waker.o):
            os.close(end)


def runtime(loop: Loop, state_dir: Any, descriptors: int | None = None) -> Runtime:
    """Return what a service may use, with sockets of its own."""
    return Runtime(loop, SocketStore(), Descriptors(descriptors), state_dir)
