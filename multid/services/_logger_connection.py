"""One connection that sends lines to a logger."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from multid.lines.receiver import LineReceiver
from multid.lines.splitter import Lines, Splitter
from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol

if TYPE_CHECKING:
    from multid.services.logger import LoggerService

READ_SIZE = 768 * 1024
"""Octets read at a time from one connection: each chunk costs the same few calls, however long it is."""
LEAST_READ = 16 * 1024
"""The same, where many connections share a turn."""
TURN = 0.05
"""Seconds that a turn of all connections should take, however dear their lines are."""
PARTING = 0.5
"""Seconds that a peer has to end its stream when we leave."""


class LineCollector(LineReceiver, StreamProtocol):
    """One connection that sends lines."""

    service: LoggerService

    def __init__(self, service: LoggerService, peer: Peer) -> None:
        LineReceiver.__init__(self)
        StreamProtocol.__init__(self, service)
        self.ledger = service.accounts.open()
        self._source = service.source(self.config, peer)
        self._holds: set[str] = set()

    def splitter(self) -> Splitter:
        """LineReceiver API."""
        return self.service.splitter(self.config, self.ledger)

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.read_size = self.service.read_size
        if self.service.is_waiting:
            self.hold("full")

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        begun = monotonic()
        self.ledger.received_octets += len(data)
        super().dataReceived(data)
        self.ledger.held_octets = self.held
        took = monotonic() - begun
        fair = self.service.read_size
        share = TURN / max(1, len(self.service.connections))
        if took > share:  # very short lines, say, or much to escape: read less the next time, so that others come soon
            fair = min(fair, max(LEAST_READ, int(len(data) * share / took)))
        self.transport.read_size = fair

    def linesReceived(self, lines: Lines) -> None:
        """LineReceiver API: all lines of a chunk at once."""
        wait = self.service.take(lines, self._source, self.ledger)
        if wait and not self._ended:
            self.hold("rate")
            self.service.runtime.reactor.callLater(wait, self.release, "rate")

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        self.end_of_stream()
        self.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self.end_of_stream()
        self.ledger.held_octets = 0
        self.service.ended(self.ledger, self._source)

    def drain(self) -> None:
        """Tell the peer that we leave, and take what it had sent by then; a sender that knows how loses nothing."""
        self._shut(socket.SHUT_WR)
        self.service.runtime.reactor.callLater(PARTING, self._shut, socket.SHUT_RD)

    def _shut(self, how: int) -> None:
        """End one direction of the socket below; what has arrived is still read, and then the end of the stream."""
        beneath = getattr(self.transport, "transport", self.transport)
        if beneath is self.transport or how == socket.SHUT_RD:  # TLS has no halves
            with suppress(OSError):
                beneath.socket.shutdown(how)

    def hold(self, reason: str) -> None:
        """Read no further until every reason not to is released."""
        if not self._holds:
            self.transport.pauseProducing()
        self._holds.add(reason)

    def release(self, reason: str) -> None:
        """Read on, if there is no other reason not to."""
        if reason in self._holds:
            self._holds.remove(reason)
            if not self._holds:
                self.transport.resumeProducing()
