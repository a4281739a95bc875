"""One SMTP connection: carries a session's octets and events between the peer, the spool and the authenticator.

While the session waits for an answer, or the spool is behind with what it was given, nothing more of this connection
is read (other connections go on); a peer that sends all the same is paused. A mail whose commit has begun is kept
even if the peer has gone. A peer that takes more than `settings.slowest` seconds for a command line, or for 16 KiB of
a mail, is sent away (421 4.4.2).

The connection answers to `idle`, `drain`, and the half-close of its peer; a mail that is on its way in is finished
first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from multid.mail.events import Append, Authenticate, Begin, Close, Commit, Discard, Event, Refused, Send, StartTls
from multid.mail.interface import Incoming, IncomingSpool, SpoolError
from multid.mail.reply import LOCAL_ERROR, SHUTTING_DOWN, TIMEOUT, Reply
from multid.mail.session import Session

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from multid.mail.auth import Authenticator
    from multid.mail.envelope import Envelope
    from multid.mail.settings import InboundSettings, Peer

SLOW_PIECE = 16384
MOST_REFUSALS = 10
"""Refusals of one connection that are logged; all are counted."""


@dataclass
class Taken:
    """What a relay counts of the mail that comes in."""

    mails: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Reception:
    """What the connections of one relay share. `now` is monotonic time; `tls` is a context factory for STARTTLS."""

    settings: InboundSettings
    spool: IncomingSpool
    taken: Taken
    now: Callable[[], float]
    tls: Any = None
    authenticator: Authenticator | None = None


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Inbound(Protocol):
    """A client of the relay."""

    log = Logger()
    transport: Any

    def __init__(self, reception: Reception, peer: Peer) -> None:
        self.log = type(self).log  # once, not for each event
        self._reception = reception
        self._settings = reception.settings
        self._now = reception.now
        self._peer = peer
        self._incoming: Incoming | None = None
        self._events: deque[Event] = deque()
        self._held: list[bytes] = []
        self._is_busy = False
        self._is_waiting = False
        self._is_behind = False
        self._is_paused = False
        self._is_lost = False
        self._has_ended = False
        self._progress = 0.0
        self._octets = 0
        self._refusals = 0
        self._session: Session

    def connectionMade(self) -> None:
        """IProtocol API."""
        tls = "TLS" if ISSLTransport.providedBy(self.transport) else ""
        self._session = Session(self._settings, self._peer, tls=tls)
        self._progress = self._now()
        self._carry_out(self._session.start())

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self._is_waiting or self._is_behind:
            self._held.append(data)
            self._pause()
            return
        if self._is_too_slow(len(data)):
            self._carry_out(self._session.end(TIMEOUT, at_once=True))
            return
        self._carry_out(self._session.receive(data))

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """IProtocol API."""
        self._is_lost = True
        self._discard()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: answer what came, then close."""
        self._has_ended = True
        self._close_if_done()

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API."""
        layer = getattr(self.transport, "protocol", self.transport)
        self._session.tls = layer.getHandle().get_protocol_version_name()

    def idle(self) -> None:
        """Say goodbye to a silent peer."""
        self._end(TIMEOUT, at_once=True)

    def drain(self) -> None:
        """Close once the mail that is coming in has its answer."""
        self._end(SHUTTING_DOWN)

    def _end(self, reply: Reply, *, at_once: bool = False) -> None:
        self._carry_out(self._session.end(reply, at_once=at_once and not self._is_waiting))

    def _is_too_slow(self, octets: int) -> bool:
        now = self._now()
        self._octets += octets
        is_too_slow = now - self._progress > self._settings.slowest
        if self._octets >= SLOW_PIECE:
            self._octets, self._progress = 0, now
        return is_too_slow

    # Events of the session.

    def _carry_out(self, events: list[Event]) -> None:
        """Do what the session asks, in order; an answer that comes meanwhile puts its events behind."""
        self._events.extend(events)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._events:
                event = self._events.popleft()
                self._DO[type(event)](self, event)
        finally:
            self._is_busy = False

    def _send(self, event: Send) -> None:
        self._octets, self._progress = 0, self._now()
        self.transport.write(event.data)

    def _start_tls(self, _event: StartTls) -> None:
        self.transport.startTLS(self._reception.tls)
        self._carry_out(self._session.answer("TLS"))

    def _told(self, event: Refused) -> None:
        self._reception.taken.refused += 1
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            self.log.info("{peer}: {what}: {reply}", peer=str(self._peer), what=event.what, reply=str(event.reply))

    def _close(self, event: Close) -> None:
        self.log.debug("{peer}: closed: {reason}", peer=str(self._peer), reason=event.reason)
        self.transport.loseConnection()

    def _begin(self, event: Begin) -> None:
        try:
            self._incoming = self._reception.spool.begin(event.size)
        except SpoolError as error:
            self._carry_out(self._session.answer(self._refused(error)))
        else:
            self._carry_out(self._session.answer(self._incoming.id))

    def _append(self, event: Append) -> None:
        behind = self._incoming.append(event.data) if self._incoming is not None else None
        if behind is not None:
            self._is_behind = True
            behind.addCallback(self._caught_up).addErrback(self._broken)

    def _caught_up(self, _: None) -> None:
        self._is_behind = False
        self._go_on()

    def _discard(self, _event: Discard | None = None) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.abort()

    def _commit(self, event: Commit) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            raise RuntimeError("a mail ends that has not begun")
        self._wait(incoming.commit(event.envelope).addCallbacks(self._committed, self._failed, (event.envelope,)))

    def _authenticate(self, event: Authenticate) -> None:
        authenticator = self._reception.authenticator
        if authenticator is None:
            raise RuntimeError("AUTH without anybody to ask")
        self._wait(authenticator.verify(event.credentials, self._peer.host).addErrback(self._failed))

    _DO: ClassVar[dict[type[Event], Callable[[Any, Any], None]]] = {
        Send: _send,
        Begin: _begin,
        Append: _append,
        Commit: _commit,
        Discard: _discard,
        Authenticate: _authenticate,
        StartTls: _start_tls,
        Refused: _told,
        Close: _close,
    }

    def _committed(self, _: None, envelope: Envelope) -> Reply:
        self._reception.taken.mails += 1
        self.log.info(
            "{id}: from <{sender}>, {recipients} recipients, {size} octets, by {peer}",
            id=envelope.id,
            sender=envelope.sender,
            recipients=len(envelope.recipients),
            size=envelope.size,
            peer=envelope.peer,
        )
        return Reply(250, "2.0.0", f"Ok: queued as {envelope.id}")

    # Answers that take their time.

    def _wait(self, reply: Deferred[Reply]) -> None:
        self._is_waiting = True
        reply.addCallback(self._answered).addErrback(self._broken)

    def _answered(self, reply: Reply) -> None:
        if self._is_lost:
            return
        self._is_waiting = False
        self._carry_out(self._session.answer(reply))
        self._go_on()

    def _failed(self, failure: Failure) -> Reply:
        if isinstance(failure.value, SpoolError):
            return self._refused(failure.value)
        self.log.failure("{peer}: a mail was not taken", failure=failure, peer=str(self._peer))
        return LOCAL_ERROR

    def _refused(self, error: SpoolError) -> Reply:
        self.log.error("{peer}: a mail was not taken: {error}", peer=str(self._peer), error=str(error))
        return error.reply

    def _broken(self, failure: Failure) -> None:
        self.log.failure("{peer}: the connection is given up", failure=failure, peer=str(self._peer))
        self.transport.abortConnection()

    def _go_on(self) -> None:
        if self._is_waiting or self._is_behind or self._is_lost:
            return
        if self._held:
            held, self._held = b"".join(self._held), []
            self._carry_out(self._session.receive(held))
        if self._is_paused and not self._is_waiting and not self._is_behind:
            self._is_paused = False
            self.transport.resumeProducing()
        self._close_if_done()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    def _close_if_done(self) -> None:
        if self._has_ended and not (self._is_waiting or self._is_behind or self._is_lost):
            self.transport.loseConnection()
