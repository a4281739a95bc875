"""Where an operator asks and commands: the admin socket, and read-only HTTP for machines and people.

It listens as every service does, so its addresses are bound, tried again, kept over a restart and changed by a reload
as theirs are; but it is no stanza of the file, and goes last. The web server is imported with the first connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multid.admin.history import STEP, History
from multid.config.address import Address
from multid.config.model import Limits, ServiceConfig, Timeouts
from multid.front import Front

if TYPE_CHECKING:
    import socket

    from multid.config.model import File
    from multid.daemon import Daemon
    from multid.net.peer import Peer

CONNECTIONS = 128
LOOKERS = 96
"""Connections over HTTP at a time, of `CONNECTIONS`: the rest is for the admin socket alone."""
IDLE = 120.0


class Admin(Front):
    """The admin socket and the HTTP address of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__("admin", configuration(daemon.loaded.file), daemon.runtime)
        self.daemon = daemon
        self.history = History()
        self._site: Any = None
        self._sample: Any = None

    @property
    def path(self) -> str:
        """The path of the admin socket."""
        path: str = self.config.listen[0].path
        return path

    def wanted(self, file: File) -> ServiceConfig:
        """Front API."""
        return configuration(file)

    def admit(self, sock: socket.socket, peer: Peer, address: Address, data: bytes = b"") -> None:
        """StreamSide API: whoever holds connections over HTTP, the commands of the admin socket get through."""
        if address.transport != "unix" and sum(one.peer.host != "unix" for one in self.connections) >= LOOKERS:
            self._refuse(sock, peer, "connections")
        else:
            super().admit(sock, peer, address, data)

    def connected(self, peer: Peer) -> Any:
        """NetworkService API."""
        from multid.admin.web import Site  # noqa: PLC0415 - costs memory and time only once somebody asks

        if self._site is None:
            self._site = Site(self)
        return self._site.channel()

    def startService(self) -> None:
        """IService API."""
        super().startService()
        self._schedule_sample()

    def stopService(self) -> Any:
        """IService API."""
        self._sample.cancel()
        if self._site is not None:
            self._site.end_streams()
        return super().stopService()

    def _schedule_sample(self) -> None:
        self._sample = self.runtime.reactor.callLater(STEP, self._note)

    def _note(self) -> None:
        self._schedule_sample()
        self.history.note({service.name: service.activity()[1] for service in self.daemon})


def configuration(file: File) -> ServiceConfig:
    """Return what the file says about the admin socket, in the form of a stanza."""
    path = file.admin.socket or file.state_dir / "admin.sock"
    addresses = [Address(f"unix:{path}", "unix", path=str(path), mode=0o660)]
    if file.admin.http is not None:
        addresses.append(file.admin.http)
    return ServiceConfig(
        type="admin",
        listen=tuple(addresses),
        limits=Limits(connections=CONNECTIONS),
        timeouts=Timeouts(idle=IDLE),
    )
