"""The next hop as we reach it, called until it is there: after 1 s, then after twice as long each time up to 60 s.

A log line says when it goes away and why, and one when it is reached again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from multid.config.target import Target
from multid.lines.link import Link, PlainLink, Sender, TlsLink

FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between calls of a peer that is away."""
CONNECTING = 10.0
"""Seconds that a call may take."""


class Hop:
    """Who is called for a `Sender`; `say` takes what an operator should know."""

    def __init__(self, target: Target, tls: Any, sender: Sender, reactor: Any, say: Callable[[str], None]) -> None:
        self._tls = tls
        self._sender = sender
        self._reactor = reactor
        self._say = say
        self._endpoint = HostnameEndpoint(reactor, target.host, target.port, timeout=CONNECTING)
        self._calling: Deferred[Any] | None = None
        self._again: Any = None
        self._delay = FIRST_RETRY
        self._away_since: float | None = None
        self.problem = ""

    def call(self) -> None:
        """Call it; the sender is given the connection when there is one."""
        self._again = None
        self._calling = self._endpoint.connect(self._factory())
        self._calling.addErrback(self._not_reached).addBoth(self._called)

    def _factory(self) -> Any:
        factory = Factory.forProtocol(self._link)
        factory.noisy = False
        if self._tls is None:
            return factory
        secure = TLSMemoryBIOFactory(self._tls, True, factory, clock=self._reactor)
        secure.protocol = TLSMemoryBIOProtocol  # its usual one keeps small writes for a turn, and from our account
        secure.noisy = False
        return secure

    def _link(self) -> Link:
        return (PlainLink if self._tls is None else TlsLink)(self._sender, self._reactor)

    def _called(self, _result: Any) -> None:
        self._calling = None

    def _not_reached(self, failure: Failure) -> None:
        self._sender.unlinked(failure)

    def is_there(self) -> None:
        """It has answered."""
        self.problem = ""
        if self._away_since is not None:
            self._say(f"reached after {self._reactor.seconds() - self._away_since:.0f} s")
            self._away_since = None

    def takes(self) -> None:
        """Something has arrived there, so it may be called soon if it goes."""
        self._delay = FIRST_RETRY

    def is_gone(self, failure: Failure) -> None:
        """It could not be reached, or the connection has ended."""
        ended = failure.check(ConnectionDone) is not None
        self.problem = "it closed the connection" if ended else failure.getErrorMessage()
        if self._away_since is None:
            self._away_since = self._reactor.seconds()
            self._say(f"{self.problem}; lines wait for it")

    def call_again(self) -> None:
        """Call it after a while."""
        self._again = self._reactor.callLater(self._delay, self.call)
        self._delay = min(self._delay * 2, LAST_RETRY)

    def stop(self) -> None:
        """Call no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._calling is not None:
            self._calling.cancel()
