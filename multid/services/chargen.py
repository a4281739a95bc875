"""Chargen: lines of the 95 printable characters, each line begun one further on, without end (RFC 864).

Over TCP until the peer closes, whatever it sends; as fast as it reads, one block a turn of the reactor, so that other
connections have theirs. Over UDP as many characters as the request had octets, at most 512: it amplifies nothing.
"""

from functools import lru_cache
from typing import Any

from pydantic import Field

from multid.config.model import ServiceConfig
from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService
from multid.service import ServiceKind

CHARACTERS = bytes(range(0x20, 0x7F))
BLOCK = 32768
LONGEST_DATAGRAM = 512


class ChargenConfig(ServiceConfig):
    """The form of the lines."""

    width: int = Field(default=72, ge=1, le=510, description="characters a line, its end not counted")


@lru_cache(maxsize=8)
def ring(width: int) -> bytes:
    """Return the lines that begin with each of the characters; then they repeat."""
    count = len(CHARACTERS)
    endless = CHARACTERS * (2 + width // count)
    return b"".join(endless[start : start + width] + b"\r\n" for start in range(count))


@lru_cache(maxsize=8)
def rings(width: int) -> bytes:
    """Return so many rings that a block can be cut out wherever in the first it begins; all connections share them."""
    return ring(width) * (2 + BLOCK // len(ring(width)))


class Chargen(StreamProtocol):
    """Writes lines while the peer reads."""

    def __init__(self, service: NetworkService) -> None:
        super().__init__(service)
        self._lines = rings(self.config.width)
        self._period = len(ring(self.config.width))
        self._offset = 0
        self._call: Any = None

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.registerProducer(self, streaming=True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """IPushProducer API."""
        if self._call is None:
            self._call = self.service.runtime.reactor.callLater(0, self._produce)

    def pauseProducing(self) -> None:
        """IPushProducer API."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stopProducing(self) -> None:
        """IPushProducer API."""
        self.pauseProducing()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: a peer that sends no more still reads."""

    def finish(self) -> None:
        """StreamProtocol API."""
        self.pauseProducing()
        super().finish()

    def _produce(self) -> None:
        self._call = None
        self.resumeProducing()
        self.transport.write(self._lines[self._offset : self._offset + BLOCK])
        self._offset = (self._offset + BLOCK) % self._period


class ChargenService(NetworkService):
    """Chargen over TCP and UDP."""

    _turn = 0

    def connected(self, peer: Peer) -> Chargen:
        """NetworkService API."""
        return Chargen(self)

    def received(self, data: bytes, peer: Peer) -> bytes:
        """NetworkService API."""
        start = self._turn * (self.config.width + 2)
        self._turn = (self._turn + 1) % len(CHARACTERS)
        return rings(self.config.width)[start : start + min(len(data), LONGEST_DATAGRAM)]


KIND = ServiceKind("chargen", "lines of printable characters without end (RFC 864)", ChargenConfig, ChargenService)
