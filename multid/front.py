"""What listens for the operator, as the daemon sees it. No logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multid.net.service import NetworkService

if TYPE_CHECKING:
    from multid.config.model import File, ServiceConfig


class Front(NetworkService):
    """Like a service, but no stanza says so; what it listens on stands in `admin`: the socket first, then the page."""

    def wanted(self, file: File) -> ServiceConfig:
        """Return what a configuration wants of it."""
        raise NotImplementedError
