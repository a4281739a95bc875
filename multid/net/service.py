"""One stanza of the file, running: its addresses, its admission, its connections, its counters.

A kind derives from `NetworkService` and says what a connection or a datagram does (`connected`, `received`), and
what else must be opened (`open`). There is one way for every configuration, the first as well as each later one:
`prepare` binds and opens, and may fail; the `Change` it returns is then committed or undone. A change keeps the
service, its counters, and every socket whose address stays; connections keep the rules they began with.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from multid.net.admission import Access, Admission
from multid.net.counters import Counters
from multid.net.datagram import DatagramListener, Question
from multid.net.guard import Guard
from multid.net.protocol import StreamProtocol
from multid.net.proxied import ProxiedConnection
from multid.net.readers import Readers
from multid.net.seldom import Seldom
from multid.net.sockets import BindError
from multid.net.stream import StreamListener
from multid.net.tls import server_context
from multid.net.transport import StreamTransport
from multid.service import Call, Change, Measure, Runtime, ServiceError

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.config.model import ServiceConfig
    from multid.net.peer import Peer

DATAGRAM_RATE = 20.0
"""Answers a second to one peer where the file says nothing."""

FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between tries to bind an address: doubled from the first to the last."""


Follower = Callable[[str, Mapping[str, Any]], None]
"""Is called with an event's name and its plain values."""


@dataclass
class Binding:
    """One address of the service: its listener, or why there is none and when it is tried again."""

    address: Address
    listener: StreamListener | DatagramListener | None = None
    problem: str = ""
    delay: float = FIRST_RETRY
    retry: Any = None

    def __str__(self) -> str:
        """Return the address, with the port the kernel chose where the file leaves it the choice."""
        if self.listener is None or self.address.port or self.address.transport not in {"tcp", "ssl", "udp"}:
            return str(self.address)
        return str(self.address).replace(":0", f":{self.listener.socket.getsockname()[1]}", 1)

    def stop(self) -> None:
        """Listen no more, try no more; the socket is the store's."""
        if self.retry is not None and self.retry.active():
            self.retry.cancel()
        if self.listener is not None:
            self.listener.stop()


class NetworkService(Service):
    """A running stanza; see the module."""

    log = Logger()

    answers = True
    """Whether a datagram may have an answer, and so the guard must decide who gets one."""
    client_ports: frozenset[int] = frozenset()
    """Ports where services usually answer, but from which clients of this kind do ask."""
    asks_for_more = False
    """Whether datagrams go to `asked`, with all that is known of them, and not to `received`."""
    tells_rate = False
    """Whether a peer beyond its rate is told so now and then, in the words of `beyond_rate`."""

    def __init__(self, name: str, config: ServiceConfig, runtime: Runtime) -> None:
        self.setName(name)
        self.name: str = name
        self.config: Any = config
        self.runtime = runtime
        self.counters = Counters()
        self.admission = Admission(config.limits, Access(config.allow, config.deny))
        self.guard = self._guard()
        self.connections: set[Any] = set()
        self.arriving: set[ProxiedConnection] = set()
        self._proxies = _proxies(config)
        self._bad_proxies = Seldom()
        self.bindings: dict[Any, Binding] = {}
        self.followers: list[Follower] = []
        """Whoever wants to see each event of the service; see `tell`."""
        self.is_paused = False
        self._tls: Any = None
        self.readers = Readers(name, runtime.reactor)
        self._sweep: Any = None
        self._drained: Deferred[None] | None = None
        self._exhausted = False

    # What a kind says

    def connected(self, peer: Peer) -> StreamProtocol:
        """Return the protocol of a new connection, which is a StreamProtocol."""
        raise NotImplementedError(f"{self.config.type} takes no connections")

    def received(self, data: bytes, peer: Peer) -> bytes | None:
        """Return the answer to a datagram, None for none."""
        raise NotImplementedError(f"{self.config.type} takes no datagrams")

    def asked(self, question: Question) -> bytes | None:
        """Return the answer to a datagram, None for none now: a question can be answered later."""
        raise NotImplementedError(f"{self.config.type} takes datagrams as they are")

    def beyond_rate(self, data: bytes, peer: Peer) -> bytes | None:
        """Return what tells a peer that it asks too often."""
        raise NotImplementedError(f"{self.config.type} has no word for that")

    async def open(self, config: Any) -> Change:
        """Open what a configuration needs besides its addresses; raise ServiceError where that cannot be."""
        return Change(lambda: None, lambda: None)

    async def close(self) -> None:
        """Close what `open` opened; the connections have ended."""

    def tick(self, now: float) -> None:
        """Do what must be done about once a second, besides what each connection's transport does."""

    def details(self) -> dict[str, Any]:
        """Return what the status of this kind shows besides addresses and counters."""
        return {}

    def reopen(self) -> None:
        """Open files anew that somebody may have moved away (SIGUSR1)."""

    async def rotate(self) -> list[str]:
        """Begin new files now; return the names of the old ones."""
        return []

    def activity(self) -> tuple[str, int]:
        """Return what the kind does most, and how often it has done it: the status page draws its rate."""
        return "requests", self.counters.connections_total + self.counters.datagrams

    def measures(self) -> Iterable[Measure]:
        """Return the numbers of this kind besides the counters."""
        return ()

    def readings(self) -> Mapping[str, Call]:
        """Return what may be asked about this service, by name: `GET /services/SERVICE/NAME` of the admin socket."""
        return {}

    def actions(self) -> Mapping[str, Call]:
        """Return what may be done to it: `POST /services/SERVICE/NAME`, for those who may change something."""
        return {}

    def fault(self) -> str:
        """Return what is wrong that only a new process can put right, such as a thread that has died; or nothing."""
        return ""

    # A configuration, the first or another

    async def prepare(self, config: Any, *, strict: bool) -> Change:
        """Bind and open what a configuration needs; `strict` makes a failed bind an error also where not required.

        Raise ServiceError, with everything as it was.
        """
        added = self.bind(config, strict=strict)
        try:
            tls = server_context(config.tls) if config.tls is not None else None
        except ValueError as error:
            raise ServiceError(f"tls: {error}") from error
        inner = await self.open(config)

        def commit() -> None:
            self._tls = tls
            inner.commit()
            self._commit(config, added)

        return Change(commit, inner.undo)

    def bind(self, config: Any, *, strict: bool) -> dict[Any, Binding]:
        """Bind the addresses that a configuration adds; what fails is kept with its problem, or raised.

        A socket that turns out not to be wanted stays with the store, whose owner closes it (`SocketStore.keep`).
        """
        added: dict[Any, Binding] = {}
        for address in config.listen:
            if address.key in self.bindings:
                continue
            added[address.key] = binding = Binding(address)
            try:
                self.runtime.sockets.bind(address, self.name)
            except BindError as error:
                binding.problem = str(error)
                if strict or config.required:
                    raise
        return added

    def _commit(self, config: Any, added: dict[Any, Binding]) -> None:
        if config == self.config and not added and self.bindings:
            return
        self.config = config
        self.admission.retune(config.limits, Access(config.allow, config.deny))
        self.guard = self._guard()
        self._proxies = _proxies(config)
        wanted = {address.key for address in config.listen}
        for key in [key for key in self.bindings if key not in wanted]:
            self.bindings.pop(key).stop()
        self.bindings = {address.key: self._bound(address, added) for address in config.listen}

    def _bound(self, address: Address, added: dict[Any, Binding]) -> Binding:
        """Return the binding of an address; what may change of one that stays (`ssl:`, mode, backlog) has changed."""
        if address.key in added:
            return added[address.key]
        binding = self.bindings[address.key]
        if binding.address != address:
            binding.address = address
            self.runtime.sockets.retune(address, self.name)
            if binding.listener is not None:
                binding.listener.address = address
        return binding

    # Running

    def startService(self) -> None:
        """IService API: take connections on every address that is bound, and try the others again."""
        Service.startService(self)
        self.readers.startReading()
        self.listen()
        self._schedule_sweep()

    def listen(self) -> None:
        """Begin to listen on the addresses that are new; called when every service that gave one up has stopped."""
        for binding in self.bindings.values():
            if binding.listener is None and binding.retry is None:
                self._listen(binding)

    def stopService(self) -> Deferred[None]:
        """IService API: accept no more, finish open work; fires when the last connection has ended."""
        Service.stopService(self)
        for binding in self.bindings.values():
            binding.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.drain()
        if self._sweep is not None and self._sweep.active():
            self._sweep.cancel()
        self.readers.close()
        await self.close()

    async def drain(self) -> None:
        """Let every connection finish; returns when there is none."""
        for arriving in list(self.arriving):
            arriving.end("the service stops")
        for transport in list(self.connections):
            transport.end = transport.end or "drained"
            transport.application.drain()
        if self.connections:
            self._drained = Deferred()
            await self._drained

    def pause(self) -> None:
        """Accept and receive nothing until `resume`: clients wait with the kernel, open connections go on."""
        self.is_paused = True
        for binding in self.bindings.values():
            if binding.listener is not None:
                binding.listener.stop()

    def resume(self) -> None:
        """Accept and receive again."""
        self.is_paused = False
        for binding in self.bindings.values():
            if binding.listener is not None:
                binding.listener.start()

    def abort(self) -> None:
        """Reset every connection that is left."""
        for transport in list(self.connections):
            transport.abort("aborted")

    def _listen(self, binding: Binding) -> None:
        address = binding.address
        try:
            sock = self.runtime.sockets.bind(address, self.name)
        except BindError as error:
            binding.problem = str(error)
            self._retry(binding)
            return
        if binding.problem:
            self.log.info("{service}: listens on {address}", service=self.name, address=str(address))
        binding.problem = ""
        kind = DatagramListener if address.is_datagram else StreamListener
        binding.listener = kind(address, sock, self)
        if not self.is_paused:
            binding.listener.start()

    def _retry(self, binding: Binding) -> None:
        self.log.warn(
            "{service}: {problem}; tried again in {delay:g} s",
            service=self.name,
            problem=binding.problem,
            delay=binding.delay,
        )
        binding.retry = self.runtime.reactor.callLater(binding.delay, self._listen, binding)
        binding.delay = min(binding.delay * 2, LAST_RETRY)

    # Connections and datagrams

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
        """Make the connection of a client that is let in."""
        protocol = self.connected(peer)
        transport = StreamTransport(sock, protocol, peer, self)
        self.connections.add(transport)
        if self.followers:
            self.tell("connected", peer)
        transport.startReading()
        if address.transport == "ssl":
            transport.startTLS(self._tls)
        protocol.makeConnection(transport)
        if data and not transport.disconnected:
            transport.deliver(data)

    def _refuse(self, sock: socket.socket, peer: Peer, reason: str) -> None:
        self.counters.rejected[reason] += 1
        sock.close()
        self.runtime.descriptors.give_back()
        if self.followers:
            self.tell("refused", peer, reason=reason)
        if self.config.record:
            self._record(peer, time.time(), 0.0, (0, 0), f"refused: {reason}")

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

    def tell(self, event: str, peer: Peer | str, **values: Any) -> None:
        """Show an event to whoever follows the service; ask `followers` first where events are many."""
        for follower in self.followers:
            follower(event, {"peer": str(peer), **values})

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

    def failed(self) -> None:
        """Count a fault of ours that cost a datagram its answer; the first is logged whole."""
        self.counters.errors += 1
        if self.counters.errors == 1:
            self.log.failure("{service}: a datagram was not answered", service=self.name)

    def _guard(self) -> Guard:
        limits = self.config.limits
        return Guard(
            rate=limits.rate if limits.rate is not None else DATAGRAM_RATE,
            total_rate=limits.total_rate,
            now=self.runtime.reactor.seconds(),
            access=self.admission.access,
            answers=self.answers,
            own_ports=self.runtime.sockets.datagram_ports,
            client_ports=self.client_ports,
            refused=self.counters.dropped,
        )

    def exhausted(self) -> None:
        """The process has no descriptor left for a connection; said once until there was none too few."""
        if not self._exhausted:
            self.log.warn("{service}: accepts no more until a connection ends: file descriptors", service=self.name)
        self._exhausted = True

    def _schedule_sweep(self) -> None:
        timeouts = self.config.timeouts
        every = min(1.0, timeouts.idle / 4, timeouts.stall / 4)
        self._sweep = self.runtime.reactor.callLater(every, self._check)

    def _check(self) -> None:
        now = self.runtime.reactor.seconds()
        for transport in list(self.connections):
            transport.check(now)
            if not transport.disconnected:
                transport.application.check(now)
        for arriving in list(self.arriving):
            arriving.check(now)
        self.tick(now)
        self._report(now)
        if self.runtime.descriptors.available > 0:
            self._exhausted = False
        if self.running or self.connections:
            self._schedule_sweep()

    def _report(self, now: float) -> None:
        report = self.guard.report(now)
        if report is None:
            return
        self.log.warn(
            "{service}: {total} datagrams not answered ({reasons}){muted}",
            service=self.name,
            total=sum(report.refused.values()),
            reasons=", ".join(f"{reason} {count}" for reason, count in sorted(report.refused.items())),
            muted=f", {report.mutes} muted: {' '.join(report.muted)}" if report.mutes else "",
        )

    # What an operator sees

    @property
    def state(self) -> str:
        """`up`, `degraded` (some addresses), `down` (none), `paused`, `draining` or `stopped`."""
        if not self.running:
            return "draining" if self.connections else "stopped"
        if self.is_paused:
            return "paused"
        problems = sum(bool(binding.problem) for binding in self.bindings.values())
        if not problems:
            return "up"
        return "down" if problems == len(self.bindings) else "degraded"

    def status(self) -> dict[str, Any]:
        """Return name, type, state, addresses (with problems), counters and details, as plain data."""
        return {
            "name": self.name,
            "type": self.config.type,
            "state": self.state,
            "listen": [{"address": str(binding), "problem": binding.problem} for binding in self.bindings.values()],
            "counters": self.counters.as_dict(),
            "details": self.details(),
        }


def _proxies(config: ServiceConfig) -> Access | None:
    return Access(config.proxy_protocol.from_) if config.proxy_protocol is not None else None
