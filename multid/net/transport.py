"""The transport of an accepted connection: writes at once when it can, counts, and is ended when nobody uses it.

A `tcp.Server` of Twisted (TLS, producers, half-close and loseConnection are its own) with five differences: `write`
tries send(2) before it queues anything, which saves two turns through epoll for each answer; octets are counted;
`check` ends a connection that is idle, that does not read what waits for it (stall), that is too old, or whose TLS
handshake takes too long; a peer that has gone while reading is paused is noticed; and `linger` closes without the
reset that octets of the peer, come but unread, would cause, and that would take from it what it has not yet read.
Timeouts are those in force when the connection began.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any

from twisted.internet import error, main, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.python.failure import Failure

from multid.net.tls import handshake_failure
from multid.net.tls_layer import start_tls

if TYPE_CHECKING:
    from multid.net.peer import Peer
    from multid.net.streams import StreamSide

READ_SIZE = 65536
LINGER = 2.0
"""Seconds that a peer may take to close when we have."""
HANDSHAKE = 10.0
"""Seconds that a TLS handshake may take."""


class StreamTransport(tcp.Server):
    """One accepted connection of a service, from `multid.net.stream`."""

    read_size = READ_SIZE

    def __init__(self, sock: socket.socket, protocol: Any, peer: Peer, service: StreamSide) -> None:
        tcp.Connection.__init__(self, sock, protocol, service.runtime.reactor)
        self.reactor: Any
        self.peer = peer
        self.service = service
        self.counters = service.counters
        self.timeouts = service.config.timeouts
        self.hostname = peer.host
        self.logstr = f"{service.name},{peer}"
        self.began = self.quiet_since = self.stalled_since = self.reactor.seconds()
        self.active = self.progress = self.reading = False
        self.received_bytes = 0
        self.sent_bytes = 0
        self.end = ""
        self.started = time.time()
        self.recorded = service.config.record
        self.handshaking_since: float | None = None
        self.lingering_since: float | None = None
        self._end_of_input = False
        self.connected = 1

    def __repr__(self) -> str:
        return f"<StreamTransport {self.logstr}>"

    def getPeer(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """ITransport API."""
        return _twisted_address(self.socket, self.peer.host, self.peer.port)

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """ITransport API."""
        name = self.socket.getsockname()
        return _twisted_address(self.socket, *name[:2]) if isinstance(name, tuple) else UNIXAddress(name)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """ITCPTransport API: where there is TCP below."""
        if self.socket.family != socket.AF_UNIX:
            tcp.Server.setTcpNoDelay(self, enabled)

    @property
    def pending(self) -> int:
        """Octets written by the protocol that the kernel has not yet taken."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def doRead(self) -> Any:
        """IReadDescriptor API."""
        try:
            data = self.socket.recv(self.read_size)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.deliver(data)
        return None

    def deliver(self, data: bytes) -> None:
        """Count octets of the peer and hand them to the protocol; one that lingers has said all it will."""
        self.active = True
        self.received_bytes += len(data)
        self.counters.received_bytes += len(data)
        if self.lingering_since is None:
            self.protocol.dataReceived(data)

    def write(self, data: bytes) -> None:
        """ITransport API: what cannot be sent at once is queued; an error is left for the reactor to find.

        With TLS this is what TLS writes to; the protocol's writes go to TLS.
        """
        if self._tempDataLen or self.dataBuffer or not self.connected or self._writeDisconnected:
            FileDescriptor.write(self, data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        self.active = True
        self.sent_bytes += sent
        self.counters.sent_bytes += sent
        if sent < len(data):
            FileDescriptor.write(self, data[sent:])

    def writeSomeData(self, data: bytes) -> Any:
        """FileDescriptor API."""
        sent = tcp.Server.writeSomeData(self, data)
        if isinstance(sent, int) and sent > 0:
            self.active = self.progress = True
            self.sent_bytes += sent
            self.counters.sent_bytes += sent
        return sent

    @property
    def is_closing(self) -> bool:
        """Whether the connection has been finished: what is still written may not arrive."""
        return bool(self.disconnecting or self.disconnected or self.lingering_since is not None)

    def linger(self) -> None:
        """Send what is written, then close as soon as the peer has, or after `LINGER`."""
        if self.TLS or self._end_of_input or self.is_closing:
            self.loseConnection()
            return
        self.lingering_since = self.reactor.seconds()
        self.startReading()
        if self.pending:
            self.loseWriteConnection()
        else:
            self._writeDisconnected = True
            self._closeWriteConnection()

    def readConnectionLost(self, reason: Failure) -> None:
        """IHalfCloseableDescriptor API."""
        self._end_of_input = True
        if self.lingering_since is None:
            tcp.Server.readConnectionLost(self, reason)
        else:
            self.loseConnection()

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """ITLSTransport API."""
        self.handshaking_since = self.reactor.seconds()
        start_tls(self, ctx, is_client=not normal, write=StreamTransport.write)

    def check(self, now: float) -> None:
        """End the connection if its time is up; called about once a second."""
        if self.active or not self.reading:  # a peer whom we do not read is not to blame for its silence
            self.active = False
            self.quiet_since = now
        if self.progress or not self.pending:
            self.progress = False
            self.stalled_since = now
        if now - self.stalled_since >= self.timeouts.stall:
            self.abort("stall")
        elif self.lingering_since is not None:
            if now - self.lingering_since >= LINGER and not self.pending:
                self.loseConnection()
        elif self.handshaking_since is not None and now - self.handshaking_since >= HANDSHAKE:
            self.abort("handshake")
        elif self.timeouts.lifetime is not None and now - self.began >= self.timeouts.lifetime:
            self.abort("lifetime")
        elif now - self.quiet_since >= self.timeouts.idle:
            self._idle(now)
        elif self._gone():
            self.connectionLost(Failure(main.CONNECTION_LOST))

    def abort(self, reason: str) -> None:
        """Reset the connection; what waits to be sent is dropped."""
        self.end = self.end or reason
        self.abortConnection()

    def startReading(self) -> None:
        """FileDescriptor API."""
        self.reading = True
        self.service.readers.add(self)

    def stopReading(self) -> None:
        """FileDescriptor API."""
        self.reading = False
        self.service.readers.remove(self)

    def _idle(self, now: float) -> None:
        """Let the protocol say goodbye; where it does not end the connection, the next idle period does."""
        if self.end:
            self.abort("idle")
            return
        self.end = "idle"
        self.quiet_since = now
        self.application.idle()

    @property
    def application(self) -> Any:
        """The service's protocol, also where TLS lies between."""
        return getattr(self.protocol, "wrappedProtocol", self.protocol)

    def _gone(self) -> bool:
        """Whether the peer reset the connection while it is in no epoll set, so that nothing else would tell."""
        if self.reading or self.pending:
            return False
        poll = select.poll()
        poll.register(self.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    def connectionLost(self, reason: Failure) -> None:
        """FileDescriptor API."""
        if self.disconnected:
            return
        if self.handshaking_since is not None and self.end in {"", "handshake"}:
            self.service.handshake_failed(self.peer, *handshake_failure(self.getHandle(), is_late=bool(self.end)))
            self.end = "handshake"
        self.end = self.end or _end(reason)
        try:
            tcp.Server.connectionLost(self, reason)
        finally:
            self.service.disconnected(self)


def _end(reason: Failure) -> str:
    if reason.check(error.ConnectionDone):
        return "done"
    return "reset" if reason.check(error.ConnectionLost) else "error"


def _twisted_address(sock: socket.socket, host: str, port: int) -> IPv4Address | IPv6Address | UNIXAddress:
    if sock.family == socket.AF_UNIX:
        return UNIXAddress(None)
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
