"""A connection passed on to a target: octets, ends of streams and pauses of each side reach the other.

A target is connected to when the client has been let in; until then the client is not read. What one side sends is read
no faster than the other takes it. The end of one side's stream is passed on and the other direction stays open (through
TLS, which knows no half-closed stream, as the end of TLS). When the target is lost the client is, and the other way
round; what has been taken from a client that has left is still given to the target. A target that takes nothing for
`timeouts.stall` is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from multid.net.outgoing import endpoint
from multid.net.protocol import StreamProtocol
from multid.net.tls_layer import start_tls

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from multid.config.target import Target
    from multid.net.service import NetworkService


@dataclass(frozen=True)
class Route:
    """A target and the TLS context for it, None for none."""

    target: Target
    context: Any = None


@implementer(IHalfCloseableProtocol)
class Far(Protocol):
    """The target's side; `reached` fires when it can be written to, `gone` when the connection has ended."""

    transport: Any

    def __init__(self) -> None:
        self.near: Relay | None = None
        self.reached: Deferred[Far] = Deferred(lambda _: self.transport.abortConnection())
        self.gone: Deferred[None] = Deferred()
        self.progress = (0, 0.0)
        self._deadline: Any = None

    def connectionMade(self) -> None:
        """IProtocol API."""
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.begin()

    def begin(self) -> None:
        """Do what must be done before the target can be written to."""
        self.reached.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self.near is not None:
            self.near.transport.write(data)

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        if self.near is not None:
            self.near.target_ended()

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """IProtocol API."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if not self.reached.called:
            self.reached.errback(reason)
        elif self.near is not None:
            self.near.target_lost(reason)
        self.gone.callback(None)

    def outlive(self, seconds: float) -> None:
        """The client has gone: give the target what waits for it, as long as that may take."""
        self._deadline = self.transport.reactor.callLater(seconds, self.transport.abortConnection)
        self.transport.loseConnection()

    def end(self) -> None:
        """Pass on the end of the client's stream."""
        self.transport.unregisterProducer()
        if self.transport.TLS:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    @property
    def pending(self) -> int:
        """Octets that the kernel has not yet taken."""
        transport = self.transport
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)  # noqa: SLF001

    def stalls(self, now: float, limit: float) -> bool:
        """Whether the target has taken nothing of what waits for it since `limit` seconds."""
        pending = self.pending
        if not pending or pending != self.progress[0]:
            self.progress = (pending, now)
        return now - self.progress[1] >= limit


@implementer(IHandshakeListener)
class FarThroughTls(Far):
    """The target's side, where TLS lies between."""

    def __init__(self, context: Any) -> None:
        super().__init__()
        self._context = context

    def begin(self) -> None:
        """Far API."""
        start_tls(self.transport, self._context, is_client=True)

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API."""
        if not self.reached.called:
            self.reached.callback(self)


class Relay(StreamProtocol):
    """The client's side."""

    def __init__(
        self,
        service: NetworkService,
        routes: Sequence[Route],
        greeting: Callable[[Any], bytes],
        unreachable: Callable[[Target, Exception], None],
        outlives: Callable[[Far], None],
    ) -> None:
        """Try the routes in their order; `greeting` is what the target is told first of the client's transport.

        `outlives` is called with a target that still has to take what a client said before it left.
        """
        super().__init__(service)
        self._routes = routes
        self._greeting = greeting
        self._unreachable = unreachable
        self._outlives = outlives
        self._far: Far | None = None
        self._connecting: Deferred[None] | None = None
        self._client_ended = self._target_ended = self._has_descriptor = False

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.pauseProducing()
        self._has_descriptor = self.service.runtime.descriptors.take()
        if not self._has_descriptor:
            self._give_up("descriptors")
            return
        self._connecting = Deferred.fromCoroutine(self._connect())
        self._connecting.addErrback(lambda failure: failure.trap(CancelledError))

    async def _connect(self) -> None:
        reactor, timeout = self.service.runtime.reactor, self.config.connect_timeout
        for route in self._routes:
            far = Far() if route.context is None else FarThroughTls(route.context)
            try:
                await endpoint(reactor, route.target, timeout).connect(_Factory(far))
                await far.reached.addTimeout(timeout, reactor)
            except Exception as error:  # whatever is wrong with one target, another may be right
                if self.transport.disconnected:
                    return
                self._unreachable(route.target, error)
            else:
                self._join(far)
                return
        self._give_up("unreachable")

    def _give_up(self, end: str) -> None:
        self.transport.end = end
        self.finish()

    def _join(self, far: Far) -> None:
        if self.transport.is_closing:
            far.transport.abortConnection()
            return
        self._far, far.near = far, self
        greeting = self._greeting(self.transport)
        if greeting:
            far.transport.write(greeting)
        far.transport.registerProducer(self.transport, True)
        self.transport.registerProducer(far.transport, streaming=True)
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self._far is not None:
            self._far.transport.write(data)

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: the client sends no more."""
        self._client_ended = True
        if self._far is None:
            self.finish()
        elif self._target_ended:
            self._both_ended()
        else:
            self._far.end()

    def target_ended(self) -> None:
        """The target sends no more."""
        self._target_ended = True
        if self._client_ended or self.transport.TLS:
            self._both_ended()
            return
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def target_lost(self, reason: Failure) -> None:
        """The target has gone: in order, or not."""
        self._far = None
        if reason.check(ConnectionDone):
            self.finish()
        else:
            self.transport.abort("target lost")

    def _both_ended(self) -> None:
        if self._far is not None:
            self._far.transport.loseConnection()
        self.transport.loseConnection()

    def check(self, now: float) -> None:
        """StreamProtocol API: give up a target that takes nothing."""
        if self._far is not None and self._far.stalls(now, self.config.timeouts.stall):
            self.transport.abort("target stall")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """IProtocol API: the client has gone."""
        if self._connecting is not None:
            self._connecting.cancel()
        far, self._far = self._far, None
        if far is None:
            self._give_back()
            return
        far.near = None
        far.transport.unregisterProducer()
        far.gone.addCallback(lambda _: self._give_back())
        if reason.check(ConnectionDone):
            far.outlive(self.config.timeouts.stall)
            self._outlives(far)
        else:
            far.transport.abortConnection()

    def _give_back(self) -> None:
        if self._has_descriptor:
            self.service.runtime.descriptors.give_back()


class _Factory(Factory[Far]):
    """Makes the one protocol it is given."""

    noisy = False

    def __init__(self, far: Far) -> None:
        self._far = far

    def buildProtocol(self, addr: Any) -> Far:
        """IProtocolFactory API."""
        return self._far
