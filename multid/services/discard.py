"""Discard: takes everything, answers nothing (RFC 863)."""

from multid.config.model import ServiceConfig
from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService
from multid.service import ServiceKind


class DiscardConfig(ServiceConfig):
    """Nothing beyond the keys of every service."""


class DiscardService(NetworkService):
    """Discard over TCP and UDP: Twisted's own Protocol throws away what it receives."""

    answers = False

    def connected(self, peer: Peer) -> StreamProtocol:
        """NetworkService API."""
        return StreamProtocol(self)

    def received(self, data: bytes, peer: Peer) -> None:
        """NetworkService API."""


KIND = ServiceKind("discard", "takes everything, answers nothing (RFC 863)", DiscardConfig, DiscardService)
