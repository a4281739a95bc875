"""Commands and replies of one connection to a next hop, with all that bounds the peer (RFC 5321 4.2, 4.5.3.2).

Each command waits for its reply for the seconds it is given. A reply is at most 100 lines of 2 KiB (`ReplyParser`),
and there are as many as commands: one that nobody asked for ends the connection, which also ends whatever is glued
behind the 220 of STARTTLS. 421 is taken whenever it comes. Once a connection is broken, by the peer or by us, what is
waited for raises the `BrokenError` that says why, and every later use does.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from multid.mail.reply import Reply, ReplyError, ReplyParser

DONE = range(200, 300)
"""The codes that mean yes, but for DATA and AUTH."""

_GO_AHEAD, _SERVICE_CLOSES = 354, 421


class BrokenError(Exception):
    """The connection has ended, or must not be used any more; `reply` says why, as a transient failure."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def broken(text: str) -> BrokenError:
    """Return the error of a connection that failed us."""
    return BrokenError(Reply(451, "4.4.2", text))


@implementer(IPushProducer, IHandshakeListener)
class Conversation(Protocol):
    """The client's end of a connection; `on_lost` is called when it ends. Coroutines use it one at a time."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.on_lost: Callable[[], object] = lambda: None
        self.is_paused = False
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._expected = 1  # the greeting
        self._broken: BrokenError | None = None
        self._wakeup: Deferred[None] | None = None
        self._awaited, self._deadline = "", 0.0
        self._timer: Any = None
        self._is_shaken = False

    @property
    def is_usable(self) -> bool:
        """Whether nothing has broken it yet."""
        return self._broken is None

    # Commands and replies

    async def ask(self, command: str, seconds: float, *, ahead: bool = False, positive: range = DONE) -> Reply:
        """Send a command, unless it went ahead, and return its reply."""
        if not ahead:
            self.write(f"{command}\r\n".encode(), 1)
        return await self.reply(seconds, command.partition(" ")[0], positive)

    async def reply(self, seconds: float, what: str, positive: range = DONE) -> Reply:
        """Return the next reply; a positive one of another kind than `positive` breaks the connection."""
        await self.until(lambda: bool(self._replies), seconds, what)
        reply = self._replies.popleft()
        if reply.code == _SERVICE_CLOSES:
            self.break_off(BrokenError(reply))
        elif reply.is_positive and reply.code not in positive:
            error = broken(f"The next hop answered {what} with {reply.code}")
            self.break_off(error)
            raise error
        return reply

    def early_reply(self) -> Reply | None:
        """Return the reply that is there already, if one is."""
        return self._replies[0] if self._replies else None

    def write(self, data: bytes, replies: int) -> None:
        """Send octets, to which there will be so many replies."""
        if self._broken is not None:
            raise self._broken
        self._expected += replies
        self.transport.write(data)

    def demand_silence(self) -> None:
        """Make sure that nothing has come which was not asked for, as must be before TLS begins (RFC 3207 6)."""
        if not self._parser.is_empty or self._replies:
            self.break_off(broken("Something came behind the reply to STARTTLS"))
        if self._broken is not None:
            raise self._broken

    async def start_tls(self, context: Any, seconds: float) -> None:
        """Begin TLS; return when the peer is who it has to be."""
        self.transport.startTLS(context)
        await self.until(lambda: self._is_shaken, seconds, "the TLS handshake")

    # Waiting

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Return when the condition holds; BrokenError if the connection ends or the time is over before."""
        if condition():
            return
        self._awaited, self._deadline = what, self.reactor.seconds() + seconds
        if self._timer is None:
            self._timer = self.reactor.callLater(seconds, self._check_time)
        elif self._timer.getTime() > self._deadline:
            self._timer.reset(seconds)
        while not condition():
            if self._broken is not None:
                raise self._broken
            self._wakeup = Deferred()
            await self._wakeup

    def _check_time(self) -> None:
        # The timer is not moved by each reply: when it fires, the deadline may be a later one.
        self._timer = None
        left = self._deadline - self.reactor.seconds()
        if self._wakeup is None:
            return
        if left > 0:
            self._timer = self.reactor.callLater(left, self._check_time)
        else:
            self.break_off(broken(f"Timed out while waiting for {self._awaited}"))

    def break_off(self, error: BrokenError) -> None:
        """Close the connection at once, for a reason."""
        if self._broken is None:
            self._broken = error
            self.transport.abortConnection()
            self._wake()

    def _wake(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            wakeup.callback(None)

    # Twisted

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API: take replies, as many as were asked for."""
        try:
            replies = self._parser.feed(data)
        except ReplyError as error:
            self.break_off(broken(f"The next hop does not speak SMTP: {error}"))
            return
        for reply in replies:
            if self._expected == 0:
                is_farewell = reply.code == _SERVICE_CLOSES
                self.break_off(BrokenError(reply) if is_farewell else broken("The next hop answered what nobody asked"))
                break
            if reply.code != _GO_AHEAD:  # which calls for the content: its reply may come before all of it is sent
                self._expected -= 1
            self._replies.append(reply)
        self._wake()

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API: the peer has proved what it has to."""
        self._is_shaken = True
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        if self._broken is None:
            self._broken = broken(f"The connection was lost: {reason.getErrorMessage()}")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        self.on_lost()

    def pauseProducing(self) -> None:
        """IPushProducer API: the peer does not read as fast as we send."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """IPushProducer API: the peer has read."""
        self.is_paused = False
        self._wake()

    def stopProducing(self) -> None:
        """IPushProducer API: the connection is lost; connectionLost says so."""
