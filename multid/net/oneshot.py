"""Services that say one thing to whoever asks: a connection is told it and closed, a datagram is answered by it."""

from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService


class OneShotProtocol(StreamProtocol):
    """Sends the service's answer at once and closes; what the peer sends is ignored."""

    service: "OneShotService"

    def connectionMade(self) -> None:
        """IProtocol API."""
        answer = self.service.answer()
        if answer:
            self.transport.write(answer)
        self.finish()


class OneShotService(NetworkService):
    """A kind says `answer`; None means that there is none to give now."""

    def answer(self) -> bytes | None:
        """Return what is said now."""
        raise NotImplementedError

    def connected(self, peer: Peer) -> OneShotProtocol:
        """NetworkService API."""
        return OneShotProtocol(self)

    def received(self, data: bytes, peer: Peer) -> bytes | None:
        """NetworkService API: whatever the datagram holds, it is a question."""
        return self.answer()
