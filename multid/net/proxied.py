"""A connection from a proxy, until its header has named the client.

Nothing of the service exists for it yet: who is admitted, limited and logged is the client. A proxy that does not say
whom it brings within `WAIT` seconds, or not in the words of the PROXY protocol, is cut off.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from twisted.internet.abstract import FileDescriptor

from multid.net.peer import Peer
from multid.net.proxy import MAX_LENGTH, ProxyError, parse_header

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.net.streams import StreamSide

WAIT = 5.0


class ProxiedConnection(FileDescriptor):
    """Reads the header, then gives the socket to the service with the peer it names and what came after it."""

    def __init__(self, sock: socket.socket, proxy: Peer, address: Address, service: StreamSide) -> None:
        FileDescriptor.__init__(self, service.runtime.reactor)
        self.socket = sock
        self.proxy = proxy
        self.address = address
        self.service = service
        self._data = b""
        self._deadline = service.runtime.reactor.seconds() + WAIT
        sock.setblocking(False)

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return f"{self.service.name},{self.proxy}"

    def doRead(self) -> None:
        """IReadDescriptor API."""
        try:
            data = self.socket.recv(MAX_LENGTH)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end("closed before its header")
            return
        self._data += data
        try:
            found = parse_header(self._data)
        except ProxyError as error:
            self.end(str(error))
            return
        if found is not None:
            proxied, length = found
            peer = Peer(*proxied.source) if proxied.source is not None else self.proxy
            self.stopReading()
            self.service.arrived(self, peer, self._data[length:])

    def check(self, now: float) -> None:
        """End the connection if its time is up."""
        if now >= self._deadline:
            self.end("no header in time")

    def end(self, reason: str) -> None:
        """Close the connection, for a reason of the proxy's making or because the service stops."""
        self.stopReading()
        self.socket.close()
        self.service.turned_away(self, reason)

    def connectionLost(self, reason: object) -> None:
        """IReadWriteDescriptor API: the reactor found the connection reset, or shuts down."""
        self.end("closed before its header")
