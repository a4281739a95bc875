"""Putting TLS between a transport and its protocol.

Twisted's own `startTLS` gathers small writes on the global reactor; here they are gathered on the transport's, and what
TLS has made of them is written as the transport writes without TLS: at once, if it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides


class Beneath:
    """The transport as TLS sees it: the same, but for what goes through TLS when anybody else asks for it."""

    def __init__(self, transport: Any, write: Callable[[Any, bytes], None]) -> None:
        self._transport = transport
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """ITransport API."""
        self._write(self._transport, data)

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


def start_tls(
    transport: Any, context: Any, *, is_client: bool, write: Callable[[Any, bytes], None] = FileDescriptor.write
) -> None:
    """Speak TLS on a transport of TCP from now on; what TLS makes of the octets is written by `write`."""
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
    tls.makeConnection(Beneath(transport, write))
    if producer is not None:
        transport.registerProducer(producer, streaming)
