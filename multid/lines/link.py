"""One connection to the next hop, and how much of what was written to it has arrived in the peer's kernel.

Nothing that the peer says matters. When it ends its side, what is on its way is waited for, and then the connection is
ended; it gets no more.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

LOOK_AT = 1024 * 1024
"""Octets on their way that make us look at once."""
UNANSWERED = 30.0
"""Seconds after which a peer that acknowledges nothing is away."""
FAREWELL = 5.0
"""Seconds in which what is left must arrive when either side ends the connection."""
HURRY = 0.02
"""Seconds between looks meanwhile."""


class Sender(Protocol):
    """Who has something to send."""

    def next(self) -> bytes:
        """Return what is to be sent now."""

    def arrived(self, octets: int) -> None:
        """So many octets more have arrived."""

    def linked(self, link: Link) -> None:
        """A connection can be written to."""

    def unlinked(self, failure: Failure) -> None:
        """It has ended."""


@implementer(IPushProducer)
class Link(protocol.Protocol):
    """One connection; a subclass says when it begins."""

    transport: Any

    def __init__(self, sender: Sender, reactor: Any) -> None:
        self._sender = sender
        self._reactor = reactor
        self._written = self._arrived = 0
        self._paused = True
        self._is_leaving = False
        self._beneath: Any = None
        self._socket: Any = None
        self._hurrying: Any = None

    def connectionMade(self) -> None:
        """IProtocol API."""
        self._beneath = getattr(self.transport, "transport", self.transport)  # below TLS
        # A descriptor of our own, so that what arrived can be asked for when Twisted has closed its.
        self._socket = self._beneath.getHandle().dup()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNANSWERED * 1000))

    def begin(self) -> None:
        """Send: from now on all that is written goes to the socket at once."""
        self._paused = False
        self.transport.registerProducer(self, True)
        self._sender.linked(self)

    def send(self) -> None:
        """Write until there is nothing left or the socket takes no more."""
        while not self._paused and (data := self._sender.next()):
            self._written += len(data)
            self.transport.write(data)
            if self._written - self._arrived > LOOK_AT:
                self.look()

    @property
    def _has_all(self) -> bool:
        return self._arrived == self._written

    @property
    def _is_reset(self) -> bool:
        """Whether the peer is gone altogether; nobody tells us while we neither read nor write."""
        poll = select.poll()
        poll.register(self._socket, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    def look(self) -> None:
        """Tell what has arrived by now: what was written less what waits here and in the kernel."""
        buffered = len(self._beneath.dataBuffer) - self._beneath.offset + self._beneath._tempDataLen  # noqa: SLF001
        arrived = self._written - buffered - self._unacknowledged()
        if arrived > self._arrived:
            octets, self._arrived = arrived - self._arrived, arrived
            self._sender.arrived(octets)

    def _unacknowledged(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0\0\0\0"))[0])

    def leave(self, *, aborting: bool) -> None:
        """Close the connection; `aborting` leaves to the next one what has not arrived."""
        self._paused = True
        self.transport.unregisterProducer()
        if aborting:
            self.abort()
        else:
            self.transport.loseConnection()

    def hurry(self, tries: int = round(FAREWELL / HURRY)) -> None:
        """Look closely at a connection that the peer ends, until all has arrived there; then end it."""
        self._hurrying = None
        self.look()
        if self._has_all or self._is_reset or not tries:
            self.leave(aborting=not self._has_all)
        else:
            self._hurrying = self._reactor.callLater(HURRY, self.hurry, tries - 1)

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        if self._socket is None:
            return
        if self._hurrying is not None:
            self._hurrying.cancel()
        self._paused = True
        self.look()
        self._socket.close()
        self._sender.unlinked(reason)

    def pauseProducing(self) -> None:
        """IPushProducer API."""
        self._paused = True

    def resumeProducing(self) -> None:
        """IPushProducer API."""
        self._paused = self._is_leaving
        self.look()
        self.send()

    def stopProducing(self) -> None:
        """IPushProducer API."""
        self._paused = True


# Two classes, because Twisted's endpoints pass on only one of the two interfaces.


@implementer(IHalfCloseableProtocol)
class PlainLink(Link):
    """One that the peer may end from its side while it still reads what is on its way."""

    def connectionMade(self) -> None:
        """IProtocol API."""
        super().connectionMade()
        self.begin()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: the peer leaves; what is on its way it still reads, and then we end it."""
        self._paused = self._is_leaving = True
        self.hurry()

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""


@implementer(IHandshakeListener)
class TlsLink(Link):
    """One that begins when TLS is there."""

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API."""
        self.begin()
