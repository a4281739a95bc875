"""Putting TLS between a transport and its protocol.

Twisted's own `startTLS` gathers small writes on the global reactor; here they are gathered on the transport's, and what
TLS has made of them is written as the transport writes without TLS: at once, if it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides

if TYPE_CHECKING:
    from multid.net.transport import StreamTransport


class Beneath:
    """The transport as TLS sees it: the same, but for what goes through TLS when anybody else asks for it."""

    def __init__(self, transport: StreamTransport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """ITransport API."""
        type(self._transport).write(self._transport, data)

    def writeSequence(self, data: list[bytes]) -> None:
        """ITransport API."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """ITransport API."""
        FileDescriptor.loseConnection(self._transport)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """IConsumer API."""
        FileDescriptor.registerProducer(self._transport, producer, streaming)

    def unregisterProducer(self) -> None:
        """IConsumer API."""
        FileDescriptor.unregisterProducer(self._transport)


def start_tls(transport: Any, context: Any, *, is_client: bool) -> None:
    """Speak TLS on the transport from now on; a producer that is registered stays so."""
    producer, streaming = transport.producer, transport.streamingProducer
    transport.unregisterProducer()
    factory = TLSMemoryBIOFactory(context, is_client, None, transport.reactor)  # type: ignore[arg-type]
    tls: Any = factory.protocol(factory, transport.protocol, False)
    transport.protocol = tls
    transport.write = lambda data: tls.write(data)  # noqa: PLW0108 (at the end of TLS its `write` becomes another)
    transport.getHandle = tls.getHandle
    transport.getPeerCertificate = tls.getPeerCertificate
    directlyProvides(transport, ISSLTransport)
    transport.TLS = True
    tls.makeConnection(Beneath(transport))
    if producer is not None:
        transport.registerProducer(producer, streaming)
