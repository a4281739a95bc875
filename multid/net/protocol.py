"""What every protocol of a stream service begins with: half-close, farewell, draining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Protocol
from zope.interface import implementer

if TYPE_CHECKING:
    from multid.net.streams import StreamSide
    from multid.net.transport import StreamTransport


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class StreamProtocol(Protocol):
    """One connection of a service; `config` is the configuration in force when it began.

    The end of the peer's stream, an idle period and the end of the daemon all finish the connection by default:
    everything written is sent, then it is closed.
    """

    transport: StreamTransport

    def __init__(self, service: StreamSide) -> None:
        self.service = service
        self.config: Any = service.config

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: the peer sends no more; it may still read."""
        self.finish()

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""

    def idle(self) -> None:
        """Nothing was read or written for `timeouts.idle`; a second such period resets the connection."""
        self.finish()

    def check(self, now: float) -> None:
        """Do what must be done about once a second."""

    def drain(self) -> None:
        """Finish what is open, then close: the service stops."""
        self.finish()

    def finish(self) -> None:
        """Send what is written, then close; a producer that waits to be resumed would hold that up for ever."""
        self.transport.unregisterProducer()
        self.transport.linger()

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API."""
        self.transport.handshaking_since = None
