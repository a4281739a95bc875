"""One connection to a next hop: an SMTP client (RFC 5321, 1870, 2920, 3207, 3461, 4954, 6152, 6531).

`open` takes the connection to where mails can be sent: greeting, EHLO (HELO where EHLO is unknown and nothing needs
it), STARTTLS and AUTH as hop and login demand. What fails there is a `HopError`: it says nothing about any mail.
`deliver` sends one mail and returns a reply for each recipient; recipients without an answer, for the connection broke
or the peer broke the rules, get a transient one. Afterwards `is_usable` says whether another mail may follow.

Bounds on the peer: a reply is at most 100 lines of 2 KiB (`ReplyParser`); nothing is accepted that was not asked for,
above all nothing behind the 220 of STARTTLS; each phase has its time (RFC 5321 4.5.3.2); of a large content that the
peer does not read, a block is in memory.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from multid.mail.address import encode_xtext
from multid.mail.envelope import Envelope, Recipient
from multid.mail.queued import Content, QueuedMail
from multid.mail.reply import Reply, ReplyError, ReplyParser
from multid.mail.route import Hop, Login
from multid.mail.transfer import DotStuffer, FileBlocks, stuffed

CONNECT, GREETING = 30.0, 300.0
HELLO = MAIL = RECIPIENT = 300.0
DATA, BLOCK, DOT, QUIT = 120.0, 180.0, 600.0, 10.0
"""Seconds for each phase."""

_DONE, _GO_ON = range(200, 300), range(354, 355)
"""Positive replies to a command, and to DATA."""

_AUTHENTICATION_REQUIRED = 530
_SERVICE_CLOSES = 421


class HopError(Exception):
    """The hop cannot be used; `reply` is what it said, or what is to be said of it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class BrokenError(Exception):
    """The connection has ended, or must not be used any more."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def broken(text: str) -> BrokenError:
    """Return the error of a connection that failed us; it is transient."""
    return BrokenError(Reply(451, "4.4.2", text))


@implementer(IPushProducer)
class Connection(Protocol):
    """An SMTP client; see the module.

    `name` is what we are called in EHLO. `is_stale` while no reply to a mail shows that the connection, which has
    carried another, is alive. `on_lost` is called when it ends.
    """

    transport: Any

    def __init__(self, reactor: Any, hop: Hop, name: str, login: Login | None = None) -> None:
        self.reactor = reactor
        self.hop = hop
        self.name = name
        self.login = login
        self.on_lost: Callable[[], object] = lambda: None
        self.extensions: dict[str, str] = {}
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._expected = 1  # the greeting
        self._broken: BrokenError | None = None
        self._wakeup: Deferred[None] | None = None
        self._awaited, self._deadline = "", 0.0
        self._timer: Any = None
        self._paused = False
        self._in_transaction = False
        self.is_stale = False

    @property
    def is_usable(self) -> bool:
        """Whether a mail can be sent."""
        return self._broken is None

    # Greeting

    async def open(self) -> None:
        """Wait for the greeting and greet; HopError if the peer does not want us."""
        try:
            self._demand(await self._reply(GREETING, "the greeting"), "the greeting")
            await self._hello()
        except BrokenError as error:
            raise HopError(error.reply) from None

    async def _hello(self) -> None:
        reply = await self._ask(f"EHLO {self.name}", HELLO)
        if reply.is_permanent:
            self.extensions = {}
            self._demand(await self._ask(f"HELO {self.name}", HELLO), "HELO")
            return
        self._demand(reply, "EHLO")
        words = (line.partition(" ") for line in reply.lines[1:])
        self.extensions = {keyword.upper(): parameters for keyword, _, parameters in words}

    def _demand(self, reply: Reply, what: str) -> None:
        if not 200 <= reply.code < 300:
            raise HopError(_transient(reply, f"{what} was refused"))

    # Mails

    async def deliver(self, mail: QueuedMail, places: Sequence[int]) -> dict[int, Reply]:
        """Send a mail to the recipients at `places`, and return the reply for each.

        HopError if the hop turns out not to be usable, which is about no recipient: the connection of an earlier mail
        ends before MAIL is answered, or a login is wanted that we do not have.
        """
        refusal = self._refusal(mail.envelope)
        if refusal is not None:
            return dict.fromkeys(places, refusal)
        replies: dict[int, Reply] = {}
        try:
            await self._transaction(mail, places, replies)
        except BrokenError as error:
            if self.is_stale:
                raise HopError(error.reply) from None
            return dict.fromkeys(places, error.reply) | replies
        return replies

    def _refusal(self, envelope: Envelope) -> Reply | None:
        """What is clear before anything is sent."""
        limit = self.extensions.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < envelope.size:
            return Reply(552, "5.3.4", f"The next hop takes at most {int(limit)} octets, the mail has {envelope.size}")
        if envelope.smtputf8 and "SMTPUTF8" not in self.extensions:
            return Reply(550, "5.6.7", "The next hop does not take mail with UTF-8 in addresses or header (SMTPUTF8)")
        if envelope.body != "7BIT" and "8BITMIME" not in self.extensions:
            return Reply(554, "5.6.3", "The next hop does not take 8-bit mail (8BITMIME)")
        return None

    async def _transaction(self, mail: QueuedMail, places: Sequence[int], replies: dict[int, Reply]) -> None:
        envelope = mail.envelope
        sender = self._mail(envelope)
        recipients = [self._rcpt(envelope.recipients[place]) for place in places]
        ahead = "PIPELINING" in self.extensions
        if self._in_transaction:
            self._demand(await self._ask("RSET", MAIL), "RSET")
        self._in_transaction = True
        if ahead:
            self._write("\r\n".join([sender, *recipients, "DATA", ""]), len(recipients) + 2)
        accepted = []
        refusal = await self._ask(sender, MAIL, ahead=ahead)
        self.is_stale = False
        if refusal.code == _AUTHENTICATION_REQUIRED:
            raise HopError(_transient(refusal, "MAIL was refused"))
        if not refusal.is_positive:
            replies.update(dict.fromkeys(places, refusal))
            if not ahead:
                return
        for place, recipient in zip(places, recipients, strict=True):
            reply = await self._ask(recipient, RECIPIENT, ahead=ahead)
            if reply.is_positive:
                accepted.append(place)
            else:
                replies.setdefault(place, _as_transient_if_too_many(reply))
        if accepted or ahead:
            reply = await self._ask("DATA", DATA, ahead=ahead, positive=_GO_ON)
            if reply.is_positive:
                reply = await self._send(mail.content if accepted else Content(0, b""))
                self._in_transaction = False
                self.is_stale = True
            for place in accepted:
                replies.setdefault(place, reply)

    def _mail(self, envelope: Envelope) -> str:
        words = [f"MAIL FROM:<{envelope.sender}>"]
        if "SIZE" in self.extensions:
            words.append(f"SIZE={envelope.size}")
        if envelope.body != "7BIT":
            words.append("BODY=8BITMIME")
        if envelope.smtputf8:
            words.append("SMTPUTF8")
        if "DSN" in self.extensions:
            words += [f"RET={envelope.ret}"] if envelope.ret else []
            words += [f"ENVID={encode_xtext(envelope.envid)}"] if envelope.envid else []
        return " ".join(words)

    def _rcpt(self, recipient: Recipient) -> str:
        words = [f"RCPT TO:<{recipient.address}>"]
        if "DSN" in self.extensions:
            words += [f"NOTIFY={','.join(sorted(recipient.notify))}"] if recipient.notify else []
            words += [f"ORCPT={encode_xtext(recipient.orcpt)}"] if recipient.orcpt else []
        return " ".join(words)

    async def _send(self, content: Content) -> Reply:
        """Send a content; return the reply to its end."""
        self._expected += 1
        if content.path is None:
            self._transport_write(stuffed(content.data or b""))
        else:
            await self._send_file(content.path)
        return await self._reply(DOT, "the end of the mail")

    async def _send_file(self, path: str) -> None:
        self.transport.registerProducer(self, True)
        stuffer = DotStuffer()
        try:
            async with FileBlocks(self.reactor, path) as blocks:
                while block := await blocks.read():
                    self._transport_write(stuffer.feed(block))
                    await self._until(lambda: not self._paused, BLOCK, "the mail to be taken")
                    self._demand_silence()
            self._transport_write(stuffer.end())
        finally:
            self._paused = False
            self.transport.unregisterProducer()

    def _demand_silence(self) -> None:
        """An answer in the middle of a content is the last that is taken from this peer, and no 250."""
        if not self._replies:
            return
        reply = self._replies[0]
        self._break(
            BrokenError(reply) if not reply.is_positive else broken("The next hop answered before the mail's end")
        )
        raise self._broken or broken("The connection was lost")

    # Commands and replies

    async def quit(self) -> None:
        """Take leave and close."""
        if self._broken is None:
            with suppress(BrokenError):
                await self._ask("QUIT", QUIT)
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._break(broken("The connection was closed"))

    async def _ask(self, command: str, seconds: float, *, ahead: bool = False, positive: range = _DONE) -> Reply:
        """Send a command, unless it went ahead, and return its reply."""
        if not ahead:
            self._write(f"{command}\r\n", 1)
        return await self._reply(seconds, command.partition(" ")[0], positive)

    def _write(self, commands: str, count: int) -> None:
        self._expected += count
        self._transport_write(commands.encode("utf-8"))

    def _transport_write(self, data: bytes) -> None:
        if self._broken is not None:
            raise self._broken
        self.transport.write(data)

    async def _reply(self, seconds: float, what: str, positive: range = _DONE) -> Reply:
        await self._until(lambda: bool(self._replies), seconds, what)
        reply = self._replies.popleft()
        if reply.code == _SERVICE_CLOSES:
            self._break(BrokenError(reply))
        elif reply.is_positive and reply.code not in positive:
            error = broken(f"The next hop answered {what} with {reply.code}")
            self._break(error)
            raise error
        return reply

    async def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
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
            self._break(broken(f"Timed out while waiting for {self._awaited}"))

    def _wake(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            wakeup.callback(None)

    def _break(self, error: BrokenError) -> None:
        if self._broken is None:
            self._broken = error
            self.transport.abortConnection()
            self._wake()

    # Twisted

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API: take replies, as many as were asked for."""
        try:
            replies = self._parser.feed(data)
        except ReplyError as error:
            self._break(broken(f"The next hop does not speak SMTP: {error}"))
            return
        for reply in replies:
            if self._expected == 0:
                self._break(BrokenError(reply) if reply.code == _SERVICE_CLOSES else broken("A reply to nothing"))
                break
            self._expected -= 1
            self._replies.append(reply)
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
        self._paused = True

    def resumeProducing(self) -> None:
        """IPushProducer API: the peer has read."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """IPushProducer API: the connection is lost; connectionLost says so."""


def _transient(reply: Reply, what: str) -> Reply:
    """Return a reply that says that what the hop refused concerns no mail."""
    return Reply(451, "4.4.0" if not reply.is_transient else reply.enhanced, f"{what}: {reply}")


def _as_transient_if_too_many(reply: Reply) -> Reply:
    """552 to a recipient is what servers once said to too many (RFC 5321 4.5.3.1.10)."""
    return Reply(452, "4.5.3", reply.text) if reply.code == 552 else reply


async def connect(reactor: Any, hop: Hop, name: str, login: Login | None) -> Connection:
    """Return a connection to a hop that takes mails; HopError if there is none to be had."""
    endpoint = HostnameEndpoint(reactor, hop.host, hop.port, timeout=CONNECT)
    factory = Factory.forProtocol(lambda: Connection(reactor, hop, name, login))
    factory.noisy = False
    try:
        connection: Any = await endpoint.connect(factory)
    except Exception as error:
        raise HopError(Reply(451, "4.4.1", f"Cannot connect to {hop}: {error or type(error).__name__}")) from error
    try:
        await connection.open()
    except BaseException:
        connection.abort()
        raise
    return cast("Connection", connection)
