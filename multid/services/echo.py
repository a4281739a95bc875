"""Echo: every octet back, in order (RFC 862)."""

from multid.config.model import ServiceConfig
from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService
from multid.service import ServiceKind


class EchoConfig(ServiceConfig):
    """Nothing beyond the keys of every service."""


class Echo(StreamProtocol):
    """Sends back what it receives, also after the peer's half-close; reads no faster than the peer reads."""

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.registerProducer(self.transport, streaming=True)

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        self.transport.write(data)


class EchoService(NetworkService):
    """Echo over TCP and UDP."""

    def connected(self, peer: Peer) -> Echo:
        """NetworkService API."""
        return Echo(self)

    def received(self, data: bytes, peer: Peer) -> bytes:
        """NetworkService API."""
        return data


KIND = ServiceKind("echo", "sends every octet back (RFC 862)", EchoConfig, EchoService)
