"""The next hop: every line to another collector over TCP or TLS, whole and in order, however often it goes away.

What is not known to have arrived is kept: in memory, or in a spool on disk, which outlives a restart. When the
connection breaks, all that the peer's kernel has not acknowledged is sent again over the next one, from the beginning
of the first message that had not wholly arrived. What TCP cannot tell is whether the peer's program read what its
kernel acknowledged: of that, a peer that dies loses what it had not read, and a message that it had read in part comes
twice. Neither framing has an acknowledgement of its own (RFC 6587), so nobody can do better.

The peer is called again after 1 s, then after twice as long each time up to 60 s. When the backlog is full, peers wait
or lose lines, as `on_full` says.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from multid.config.target import Target
from multid.lines.backlog import Backlog, MemoryBacklog, Spool
from multid.lines.frames import ForwardFormat, StreamFraming, encode
from multid.lines.output import Pressure
from multid.lines.record import Batch
from multid.lines.waiting import OnFull

MEMORY = 4 * 1024 * 1024
"""Octets kept in memory where there is no spool."""
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between calls of a peer that is away."""
CONNECTING = 10.0
"""Seconds that a call may take."""
TICK = 0.25
"""Seconds between looks at what has arrived."""
HURRY = 0.02
"""The same, while somebody waits for room."""
LOOK_AT = 1024 * 1024
"""Octets on their way that make us look at once."""
UNANSWERED = 30.0
"""Seconds after which a peer that acknowledges nothing is away."""
FAREWELL = 5.0
"""Seconds that the peer has to take what is left when we stop."""


@dataclass(frozen=True)
class ForwardOptions:
    """What an operator says of a next hop; `tls` is our half of TLS, an IOpenSSLClientConnectionCreator, to `ssl:`."""

    hop: Target
    framing: StreamFraming = "octet-counted"
    format: ForwardFormat = "rfc5424"
    spool: Path | None = None
    spool_limit: int = 1 << 30
    on_full: OnFull = "pause"
    tls: Any = None


class Forwarder:
    """An `Output` to a next hop over a stream."""

    log = Logger()

    def __init__(self, service: str, options: ForwardOptions, reactor: Any, pressure: Pressure) -> None:
        self._service = service
        self._options = options
        self._reactor = reactor
        self._pressure = pressure
        self._backlog: Backlog = MemoryBacklog(MEMORY, options.framing)
        self._endpoint: Any = None
        self._link: _Link | None = None
        self._calling: Deferred[Any] | None = None
        self._held: deque[tuple[bytes, Batch]] = deque()  # what the backlog had no room for
        self._delay = FIRST_RETRY
        self._away_since: float | None = None
        self._problem = ""
        self._timers: dict[str, Any] = {}
        self._closing: Deferred[None] | None = None
        self._closed = False

    # Output API

    def open(self) -> None:
        """Find the spool's folder; OSError where that cannot be."""
        options, hop = self._options, self._options.hop
        self._endpoint = HostnameEndpoint(self._reactor, hop.host, hop.port, timeout=CONNECTING)
        if options.spool is not None:
            options.spool.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not os.access(options.spool, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(options.spool))

    def start(self) -> None:
        """Call the peer, and take up the spool, which another may have held until now."""
        spool = self._options.spool
        if spool is not None:
            try:
                self._backlog = Spool(spool, self._options.spool_limit, self._options.framing)
            except OSError:
                self.log.failure("{service}: the spool; lines are kept in memory", service=self._service)
        self._call()
        self._tick()

    def write(self, batch: Batch) -> None:
        """Take a batch, and send it as soon as the peer takes it."""
        if self._held and self._options.on_full == "drop":
            batch.settle("away", batch.count, batch.octets)
            return
        data = encode(batch, self._options.format, self._options.framing)
        if self._held or not self._put(data, batch):
            if not self._held:
                self._begin_waiting()
            self._held.append((data, batch))
        elif self._link is not None:
            self._link.send()

    def reopen(self) -> None:
        """There is nothing that anybody could have moved."""

    def rotate(self) -> list[str]:
        """There is nothing to put away."""
        return []

    @property
    def is_idle(self) -> bool:
        """Whether all has arrived, or is in the spool."""
        return not self._held and (self._options.spool is not None or not self._backlog.octets)

    def go_on(self) -> None:
        """Try whether there is room for what waits."""
        self._take_held()

    async def close(self) -> None:
        """Give the peer some time to take what is left; the rest is in the spool, or lost and said so."""
        if self._link is not None and not self.is_idle:
            self._closing = Deferred()
            self._later("farewell", FAREWELL, self._farewell)
            await self._closing
        self._closed = True
        for timer in list(self._timers):
            self._cancel(timer)
        if self._calling is not None:
            self._calling.cancel()
        self._take_held()
        aborting = self._backlog.octets > 0
        self._give_up()
        if self._link is not None:
            self._closing = Deferred()
            self._later("farewell", FAREWELL, self._link.abort)
            self._link.leave(aborting=aborting)
            await self._closing

    def _give_up(self) -> None:
        lost = self._backlog.close()
        for _, batch in self._held:
            lost += batch.count
            batch.settle("away", batch.count, batch.octets)
        if self._held:
            self._held.clear()
            self._end_waiting()
        if lost:
            self.log.error(
                "{service}: {hop}: {lines} lines are lost",
                service=self._service,
                hop=str(self._options.hop),
                lines=lost,
            )

    def status(self) -> dict[str, Any]:
        """Return where to, whether the peer is there, and what waits."""
        return {
            "forward": str(self._options.hop),
            "problem": self._problem,
            "waiting_octets": self._backlog.octets + sum(len(data) for data, _ in self._held),
        }

    # The backlog

    def next(self) -> bytes:
        """Return what is to be sent now."""
        return self._backlog.read()

    def arrived(self, octets: int) -> None:
        """So many octets more have arrived."""
        if self._closed:
            return
        self._delay = FIRST_RETRY
        self._backlog.done(octets)
        self._take_held()
        if self._closing is not None and not self._backlog.octets:
            self._cancel("farewell")
            self._farewell()

    def _put(self, data: bytes, batch: Batch) -> bool:
        try:
            if self._backlog.put(data, batch):
                return True
            if self._link is not None:
                self._link.look()
            return self._backlog.put(data, batch)
        except OSError as error:
            self._problem = f"spool: {error.strerror}"
            return False

    def _take_held(self) -> None:
        if not self._held:
            return
        while self._held and self._put(*self._held[0]):
            self._held.popleft()
        if not self._held:
            self._end_waiting()
        if self._link is not None:
            self._link.send()

    def _begin_waiting(self) -> None:
        waits = "lines are dropped" if self._options.on_full == "drop" else "peers wait"
        self._say(f"its backlog is full; {waits}")
        if self._options.on_full == "pause":
            self._pressure(True)

    def _end_waiting(self) -> None:
        self._say("its backlog has room again")
        if self._options.on_full == "pause":
            self._pressure(False)

    def _farewell(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.callback(None)

    # The connection

    def _call(self) -> None:
        self._calling = self._endpoint.connect(self._factory())
        self._calling.addErrback(self._not_reached).addBoth(self._called)

    def _factory(self) -> Any:
        factory = Factory.forProtocol(lambda: (_TlsLink if self._options.tls else _PlainLink)(self))
        factory.noisy = False
        if self._options.tls is None:
            return factory
        secure = TLSMemoryBIOFactory(self._options.tls, True, factory, clock=self._reactor)
        secure.protocol = TLSMemoryBIOProtocol  # its usual one keeps small writes for a turn, and from our account
        secure.noisy = False
        return secure

    def _called(self, _result: Any) -> None:
        self._calling = None

    def _not_reached(self, failure: Failure) -> None:
        self._gone(failure.getErrorMessage())

    def linked(self, link: _Link) -> None:
        """The peer has answered."""
        self._link = link
        self._problem = ""
        if self._away_since is not None:
            self._say(f"reached after {self._reactor.seconds() - self._away_since:.0f} s")
            self._away_since = None
        link.send()

    def hurry(self, link: _Link, tries: int = round(FAREWELL / HURRY)) -> None:
        """Look closely at a connection that the peer ends, until all has arrived there; then end it."""
        link.look()
        if link.has_all or link.is_reset or not tries:
            link.leave(aborting=not link.has_all)
        else:
            self._later("leave", HURRY, lambda: self.hurry(link, tries - 1))

    def unlinked(self, failure: Failure) -> None:
        """The connection has ended."""
        self._link = None
        self._cancel("leave")
        if self._closed:
            self._cancel("farewell")
            self._farewell()
            return
        self._backlog.rewind()
        ended = failure.check(ConnectionDone) is not None
        self._gone("it closed the connection" if ended else failure.getErrorMessage())

    def _gone(self, why: str) -> None:
        if self._closed:
            return
        self._problem = why
        if self._away_since is None:
            self._away_since = self._reactor.seconds()
            self._say(f"{why}; lines wait for it")
        if self._closing is not None:
            self._cancel("farewell")
            self._farewell()
            return
        self._later("call", self._delay, self._call)
        self._delay = min(self._delay * 2, LAST_RETRY)

    def _say(self, what: str) -> None:
        self.log.warn("{service}: {hop}: {what}", service=self._service, hop=str(self._options.hop), what=what)

    def _tick(self) -> None:
        if self._link is not None:
            self._link.look()
        self._take_held()
        self._backlog.save()
        self._later("tick", HURRY if self._held else TICK, self._tick)

    def _later(self, name: str, seconds: float, what: Callable[[], None]) -> None:
        def run() -> None:
            del self._timers[name]
            what()

        self._timers[name] = self._reactor.callLater(seconds, run)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


@implementer(IPushProducer)
class _Link(Protocol):
    """One connection to the peer; nothing that the peer says matters."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._written = self._arrived = 0
        self._paused = True
        self._is_leaving = False
        self._beneath: Any = None
        self._socket: Any = None

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
        self._transport.registerProducer(self, True)
        self._forwarder.linked(self)

    @property
    def _transport(self) -> Any:
        return self.transport

    def send(self) -> None:
        """Write until there is nothing left or the socket takes no more."""
        while not self._paused and (data := self._forwarder.next()):
            self._written += len(data)
            self._transport.write(data)
            if self._written - self._arrived > LOOK_AT:
                self.look()

    @property
    def has_all(self) -> bool:
        """Whether all that was written has arrived."""
        return self._arrived == self._written

    @property
    def is_reset(self) -> bool:
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
            self._forwarder.arrived(octets)

    def _unacknowledged(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0\0\0\0"))[0])

    def leave(self, *, aborting: bool) -> None:
        """Close the connection; `aborting` leaves to the next one what has not arrived."""
        self._paused = True
        self._transport.unregisterProducer()
        if aborting:
            self.abort()
        else:
            self._transport.loseConnection()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        if self._socket is None:
            return
        self._paused = True
        self.look()
        self._socket.close()
        self._forwarder.unlinked(reason)

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
class _PlainLink(_Link):
    """One that the peer may end from its side while it still reads what is on its way."""

    def connectionMade(self) -> None:
        """IProtocol API."""
        super().connectionMade()
        self.begin()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: the peer leaves; what is on its way it still reads, and then we end it."""
        self._paused = self._is_leaving = True
        self._forwarder.hurry(self)

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""


@implementer(IHandshakeListener)
class _TlsLink(_Link):
    """One that begins when TLS is there."""

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API."""
        self.begin()
