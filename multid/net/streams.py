"""The connections of a service: who comes in, what is said about whom, and how they end."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from multid.net.admission import Access
from multid.net.protocol import StreamProtocol
from multid.net.proxied import ProxiedConnection
from multid.net.readers import Readers
from multid.net.seldom import Seldom
from multid.net.stanza import Stanza
from multid.net.transport import StreamTransport

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.config.model import ServiceConfig
    from multid.net.peer import Peer
    from multid.service import Runtime


class StreamSide(Stanza):
    """A stanza that takes connections; the kind says what one does (`connected`)."""

    def __init__(self, name: str, config: ServiceConfig, runtime: Runtime) -> None:
        super().__init__(name, config, runtime)
        self.connections: set[Any] = set()
        self.arriving: set[ProxiedConnection] = set()
        self.readers = Readers(name, runtime.reactor)
        self.tls: Any = None
        self._proxies = _proxies(config)
        self._bad_proxies = Seldom()
        self._bad_handshakes = Seldom()
        self._exhausted = Seldom()
        self._drained: Deferred[None] | None = None

    def retune(self, config: ServiceConfig) -> None:
        """Stanza API."""
        super().retune(config)
        self._proxies = _proxies(config)

    def connected(self, peer: Peer) -> StreamProtocol:
        """Return the protocol of a new connection, which is a StreamProtocol."""
        raise NotImplementedError(f"{self.config.type} takes no connections")

    def accepted(self, sock: socket.socket, peer: Peer, address: Address) -> None:
        """Take a new connection: a client's, or a proxy's, which is to say whose it is."""
        if self._proxies is None or not self._proxies.permits(peer.host):
            self.admit(sock, peer, address)
        elif len(self.arriving) >= self.config.limits.connections:
            self._refuse(sock, peer, "connections")
        else:
            arriving = ProxiedConnection(sock, peer, address, self)
            self.arriving.add(arriving)
            arriving.startReading()

    def arrived(self, arriving: ProxiedConnection, peer: Peer, data: bytes) -> None:
        """A proxy has named its client."""
        self.arriving.discard(arriving)
        self.admit(arriving.socket, peer, arriving.address, data)

    def turned_away(self, arriving: ProxiedConnection, reason: str) -> None:
        """A proxy did not name its client."""
        self.arriving.discard(arriving)
        self.counters.rejected["proxy"] += 1
        self.runtime.descriptors.give_back()
        count = self._bad_proxies.note(self.runtime.reactor.seconds())
        if count:
            self.log.warn(
                "{service}: {count} connections without a PROXY header, the last from {peer}: {why}",
                service=self.name,
                count=count,
                peer=str(arriving.proxy),
                why=reason,
            )

    def admit(self, sock: socket.socket, peer: Peer, address: Address, data: bytes = b"") -> None:
        """Let a client in, with what it has said already, or close its connection and count why."""
        reason = self.admission.refuse(peer, self.runtime.reactor.seconds())
        if reason is not None:
            self._refuse(sock, peer, reason)
            return
        self.counters.connections += 1
        self.counters.connections_total += 1
        self.begin(sock, peer, address, data)

    def begin(self, sock: socket.socket, peer: Peer, address: Address, data: bytes) -> None:
        """Make the connection of a client that is let in; a fault of the kind ends it and nothing else."""
        transport = StreamTransport(sock, None, peer, self)
        self.connections.add(transport)
        if self.followers:
            self.tell("connected", peer)
        try:
            transport.protocol = protocol = self.connected(peer)
            transport.startReading()
            if address.transport == "ssl":
                transport.startTLS(self.tls)
            protocol.makeConnection(transport)
            if data and not transport.disconnected:
                transport.deliver(data)
        except Exception:
            self.counters.errors += 1
            self.log.failure("{service}: {peer}: a fault", service=self.name, peer=str(peer))
            transport.protocol = transport.protocol or StreamProtocol(self)
            transport.abort("error")

    def _refuse(self, sock: socket.socket, peer: Peer, reason: str) -> None:
        self.counters.rejected[reason] += 1
        sock.close()
        self.runtime.descriptors.give_back()
        if self.followers:
            self.tell("refused", peer, reason=reason)
        if self.config.record:
            self._record(peer, time.time(), 0.0, (0, 0), f"refused: {reason}")

    def handshake_failed(self, peer: Peer, reason: str, why: str) -> None:
        """A client and we did not come to speak TLS."""
        self.counters.tls_failures[reason] += 1
        count = self._bad_handshakes.note(self.runtime.reactor.seconds())
        if count:
            self.log.info(
                "{service}: {count} TLS handshakes failed, the last with {peer}: {why}",
                service=self.name,
                count=count,
                peer=str(peer),
                reason=reason,
                why=why,
            )

    def disconnected(self, transport: Any) -> None:
        """A connection has ended."""
        self.connections.discard(transport)
        self.counters.connections -= 1
        self.admission.leave(transport.peer)
        self.runtime.descriptors.give_back()
        duration = self.runtime.reactor.seconds() - transport.began
        octets = (transport.received_bytes, transport.sent_bytes)
        if self.followers:
            self.tell(
                "closed",
                transport.peer,
                end=transport.end,
                seconds=round(duration, 3),
                received_bytes=octets[0],
                sent_bytes=octets[1],
            )
        if transport.recorded:
            self._record(transport.peer, transport.started, duration, octets, transport.end)
        if self._drained is not None and not self.connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

    async def drain(self) -> None:
        """Let every connection finish, with what it has been sent by now; returns when there is none."""
        self.readers.read_all()
        for arriving in list(self.arriving):
            arriving.end("the service stops")
        for transport in list(self.connections):
            transport.end = transport.end or "drained"
            transport.application.drain()
        if self.connections:
            self._drained = Deferred()
            await self._drained

    def abort(self) -> None:
        """Reset every connection that is left."""
        for transport in list(self.connections):
            transport.abort("aborted")

    def check_connections(self, now: float) -> None:
        """End the connections whose time is up; called about once a second."""
        for transport in list(self.connections):
            transport.check(now)
            if not transport.disconnected:
                transport.application.check(now)
        for arriving in list(self.arriving):
            arriving.check(now)

    def exhausted(self) -> None:
        """The process has no descriptor left for a connection: say it, but seldom."""
        if self._exhausted.note(self.runtime.reactor.seconds()):
            self.log.warn("{service}: accepts no more until a connection ends: file descriptors", service=self.name)

    def _record(self, peer: Peer, start: float, duration: float, octets: tuple[int, int], end: str) -> None:
        self.log.info(
            "{service}: {peer} {end} after {duration:.3f} s, {received_bytes} octets in, {sent_bytes} out",
            event="connection",
            service=self.name,
            peer=str(peer),
            start=datetime.fromtimestamp(start, UTC).isoformat(timespec="milliseconds"),
            duration=duration,
            received_bytes=octets[0],
            sent_bytes=octets[1],
            end=end,
        )


def _proxies(config: ServiceConfig) -> Access | None:
    return Access(config.proxy_protocol.from_) if config.proxy_protocol is not None else None
