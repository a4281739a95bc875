"""One connection to a next hop: an SMTP client (RFC 5321, 1870, 2920, 3207, 3461, 4954, 6152, 6531, 8314).

`connect` takes a connection to where mails can be sent: greeting, EHLO (HELO where EHLO is unknown and nothing needs
it), TLS and AUTH as hop and login demand. What fails there is a `HopError`: it says nothing about any mail. Nothing
is ever sent with less than was demanded: a password goes only to a server that has proved its name, or in the clear
if the route says `tls: none`; where there is a login, no mail goes without it. TLS that was not demanded
(`opportunistic`) is tried, and left out where it does not work.

`Connection.deliver` sends one mail and returns a reply for each recipient; recipients without an answer, for the
connection broke or the peer broke the rules, get a transient one. Afterwards `is_usable` says whether another mail
may follow. A mail is sent in a form that the hop takes, or refused for it (`multid.mail.fitting`). Of a large content
that the peer does not read, a block is in memory.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory

from multid.mail import client_auth, client_tls
from multid.mail.address import encode_xtext
from multid.mail.conversation import BrokenError, Conversation, broken
from multid.mail.envelope import Envelope, Recipient
from multid.mail.fitting import NOT_INTERNATIONAL, Fitted, UnfitError, as_ascii, fitted
from multid.mail.queued import QueuedMail
from multid.mail.reply import Reply
from multid.mail.route import Hop, Login
from multid.mail.transfer import DotStuffer, FileBlocks, stuffed

CONNECT, GREETING, TLS = 30.0, 300.0, 60.0
HELLO = AUTH = MAIL = RECIPIENT = 300.0
DATA, BLOCK, DOT, QUIT = 120.0, 180.0, 600.0, 10.0
"""Seconds for each phase (RFC 5321 4.5.3.2)."""

_READY, _GO_AHEAD = range(220, 221), range(354, 355)
_LOGGING_IN = range(235, 335)
_AUTHENTICATION_REQUIRED = 530


class HopError(Exception):
    """The hop cannot be used; `reply` says why. It is permanent if the destination will never take mail."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class TlsError(HopError):
    """TLS does not work with this hop."""


class Connection(Conversation):
    """An SMTP client; see the module.

    `name` is what we are called in EHLO. `is_stale` while no reply to a mail shows that the connection, which has
    carried another, is alive and free for it. No content is sent until `before_content` has fired.
    """

    def __init__(self, reactor: Any, hop: Hop, name: str, login: Login | None = None) -> None:
        super().__init__(reactor)
        self.hop = hop
        self.name = name
        self.login = login
        self.extensions: dict[str, str] = {}
        self.is_stale = False
        self.before_content: Deferred[None] | None = None
        self.tls = ""
        self._is_verified = False
        self._in_transaction = False

    # Getting ready

    async def open(self) -> None:
        """Do all that comes before the first mail; HopError if the hop does not want us, or we not it."""
        try:
            if self.hop.tls == "implicit":
                await self._start_tls()
            self._demand(await self.reply(GREETING, "the greeting", _READY), "The greeting")
            await self._hello()
            if self.hop.tls in {"required", "opportunistic"}:
                await self._upgrade()
            if self.login is not None:
                await self._log_in(self.login)
        except BrokenError as error:
            raise HopError(error.reply) from None

    async def _hello(self) -> None:
        reply = await self.ask(f"EHLO {self.name}", HELLO)
        if reply.is_permanent:
            self.extensions = {}
            self._demand(await self.ask(f"HELO {self.name}", HELLO), "HELO")
            return
        self._demand(reply, "EHLO")
        words = (line.partition(" ") for line in reply.lines[1:])
        self.extensions = {keyword.upper(): parameters for keyword, _, parameters in words}

    async def _upgrade(self) -> None:
        """STARTTLS; what was said before it is forgotten (RFC 3207 4.2)."""
        if "STARTTLS" in self.extensions:
            reply = await self.ask("STARTTLS", HELLO, positive=_READY)
            if reply.is_positive:
                self.demand_silence()
                self.extensions = {}
                await self._start_tls()
                await self._hello()
                return
        if self.hop.tls == "required":
            raise TlsError(Reply(451, "4.7.4", "The next hop has no STARTTLS for us, which the route demands"))

    async def _start_tls(self) -> None:
        is_demanded = self.hop.tls != "opportunistic"
        context = client_tls.verified(self.hop.host) if is_demanded else client_tls.unverified(self.hop.host)
        try:
            await self.start_tls(context, TLS)
        except BrokenError as error:
            raise TlsError(Reply(451, "4.7.5", f"TLS failed: {error.reply.text}")) from None
        self._is_verified = is_demanded
        self.tls = self.transport.getHandle().get_protocol_version_name()

    async def _log_in(self, login: Login) -> None:
        if not self._is_verified and self.hop.tls != "none":
            raise HopError(Reply(451, "4.7.4", "No password is sent without verified TLS"))
        names = client_auth.mechanisms(self.extensions.get("AUTH", ""), is_secret=self._is_verified)
        if not names:
            raise HopError(Reply(451, "4.7.4", "The next hop offers no way to log in, which the route demands"))
        try:
            await self._authenticate(names[0], login)
        except ValueError:
            raise HopError(Reply(451, "4.7.0", f"The next hop's side of AUTH {names[0]} makes no sense")) from None

    async def _authenticate(self, mechanism: str, login: Login) -> None:
        steps = client_auth.steps(mechanism, login)
        line = next(steps)
        while True:
            reply = client_auth.without_secrets(await self.ask(line, AUTH, positive=_LOGGING_IN), login)
            if reply.code != 334:
                self._demand(reply, f"AUTH {mechanism}")
                return
            try:
                line = steps.send(reply.text)
            except StopIteration:
                raise HopError(Reply(451, "4.7.0", f"The next hop never ends AUTH {mechanism}")) from None

    def _demand(self, reply: Reply, what: str) -> None:
        if not reply.is_positive:
            raise HopError(_as_transient(reply, f"{what} was refused"))

    # Mails

    async def deliver(self, mail: QueuedMail, places: Sequence[int]) -> dict[int, Reply]:
        """Send a mail to the recipients at `places`, and return the reply for each.

        HopError if the hop turns out not to be usable, which is about no recipient: the connection of an earlier mail
        ends before MAIL is answered (`is_stale`), or a login is wanted that we do not have.
        """
        try:
            self._check_size(mail.envelope)
            fit = await fitted(self.reactor, mail, self.extensions)
        except UnfitError as error:
            return dict.fromkeys(places, error.reply)
        recipients = mail.envelope.recipients
        replies = {place: NOT_INTERNATIONAL for place in places if self._address(recipients[place].address) is None}
        sendable = [place for place in places if place not in replies]
        try:
            if sendable:
                await self._transact(mail.envelope, fit, sendable, replies)
        except BrokenError as error:
            if self.is_stale:
                raise HopError(error.reply) from None
            return dict.fromkeys(places, error.reply) | replies
        return replies

    async def settled(self) -> None:
        """Wait for `before_content`."""
        before, self.before_content = self.before_content, None
        if before is not None:
            await before

    def _check_size(self, envelope: Envelope) -> None:
        limit = self.extensions.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < envelope.size:
            text = f"The next hop takes at most {int(limit)} octets, the mail has {envelope.size}"
            raise UnfitError(Reply(552, "5.3.4", text))

    def _address(self, address: str) -> str | None:
        """Return an address as this hop takes it, None if it does not."""
        return address if "SMTPUTF8" in self.extensions else as_ascii(address)

    async def _transact(
        self, envelope: Envelope, mail: Fitted, places: Sequence[int], replies: dict[int, Reply]
    ) -> None:
        """Send a mail, filling in the reply of each recipient as it is known."""
        commands = [self._mail(envelope, mail), *(self._rcpt(envelope.recipients[place]) for place in places)]
        ahead = "PIPELINING" in self.extensions
        if self._in_transaction:
            self.is_stale = True
            self._demand(await self.ask("RSET", MAIL), "RSET")
        self._in_transaction = True
        if ahead:
            self.write("\r\n".join([*commands, "DATA", ""]).encode(), len(commands) + 1)
        reply = await self.ask(commands[0], MAIL, ahead=ahead)
        self.is_stale = False
        if reply.code == _AUTHENTICATION_REQUIRED:
            raise HopError(_as_transient(reply, "MAIL was refused"))
        if not reply.is_positive:
            replies.update(dict.fromkeys(places, reply))
            if not ahead:
                return
        accepted = await self._recipients(places, commands[1:], replies, ahead=ahead)
        if accepted or ahead:
            reply = await self._data(mail if accepted else None, ahead=ahead)
            replies.update(dict.fromkeys(accepted, reply))

    async def _recipients(
        self, places: Sequence[int], commands: Sequence[str], replies: dict[int, Reply], *, ahead: bool
    ) -> list[int]:
        """Name the recipients; return those that are accepted."""
        accepted = []
        for place, command in zip(places, commands, strict=True):
            reply = await self.ask(command, RECIPIENT, ahead=ahead)
            if not reply.is_positive:
                replies.setdefault(place, _as_transient_if_too_many(reply))
            elif place not in replies:
                accepted.append(place)
        return accepted

    def _mail(self, envelope: Envelope, mail: Fitted) -> str:
        words = [f"MAIL FROM:<{self._address(envelope.sender)}>"]
        if "SIZE" in self.extensions and mail.size:
            words.append(f"SIZE={mail.size}")
        if mail.is_8bit:
            words.append("BODY=8BITMIME")
        if mail.smtputf8:
            words.append("SMTPUTF8")
        if "DSN" in self.extensions:
            words += [f"RET={envelope.ret}"] if envelope.ret else []
            words += [f"ENVID={encode_xtext(envelope.envid)}"] if envelope.envid else []
        return " ".join(words)

    def _rcpt(self, recipient: Recipient) -> str:
        words = [f"RCPT TO:<{self._address(recipient.address)}>"]
        if "DSN" in self.extensions:
            words += [f"NOTIFY={','.join(sorted(recipient.notify))}"] if recipient.notify else []
            words += [f"ORCPT={encode_xtext(recipient.orcpt)}"] if recipient.orcpt else []
        return " ".join(words)

    async def _data(self, mail: Fitted | None, *, ahead: bool) -> Reply:
        """Send DATA and the content, nothing if there is no mail; return the reply that decides."""
        reply = await self.ask("DATA", DATA, ahead=ahead, positive=_GO_AHEAD)
        if not reply.is_positive:
            return reply
        await self.settled()
        self._stop_if_answered()
        if mail is None or mail.content.path is None:
            self.write(stuffed((mail and mail.content.data) or b""), 0)
        else:
            await self._send_file(mail.blocks(self.reactor))
        reply = await self.reply(DOT, "the end of the mail")
        self._in_transaction = False
        self.is_stale = True
        return reply

    async def _send_file(self, file: FileBlocks) -> None:
        stuffer = DotStuffer()
        async with file as blocks:
            self.transport.registerProducer(self, True)
            try:
                while block := await blocks.read():
                    self.write(stuffer.feed(block), 0)
                    await self.until(lambda: not self.is_paused, BLOCK, "the mail to be read")
                    self._stop_if_answered()
                self.write(stuffer.end(), 0)
            finally:
                self.is_paused = False
                self.transport.unregisterProducer()

    def _stop_if_answered(self) -> None:
        """An answer before the content's end is the last that is taken from this peer, and it is not a yes."""
        reply = self.early_reply()
        if reply is not None:
            error = broken("The next hop answered before the mail's end") if reply.is_positive else BrokenError(reply)
            self.break_off(error)
            raise error

    # The end

    async def quit(self) -> None:
        """Take leave and close."""
        if self.is_usable:
            with suppress(BrokenError):
                await self.ask("QUIT", QUIT)
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self.break_off(broken("The connection was closed"))


def _as_transient(reply: Reply, what: str) -> Reply:
    """Return what a hop refused as a reply that concerns no mail."""
    return Reply(451, reply.enhanced if reply.is_transient else "4.4.0", f"{what}: {reply}")


def _as_transient_if_too_many(reply: Reply) -> Reply:
    """552 to a recipient is what servers once said to too many (RFC 5321 4.5.3.1.10)."""
    return Reply(452, "4.5.3", reply.text) if reply.code == 552 else reply


async def connect(reactor: Any, hop: Hop, name: str, login: Login | None) -> Connection:
    """Return a connection to a hop that takes mails; HopError if there is none to be had."""
    try:
        return await _connect(reactor, hop, name, login)
    except TlsError:
        if hop.tls != "opportunistic" or login is not None:
            raise
    return await _connect(reactor, Hop(hop.host, hop.port, "none"), name, None)


async def _connect(reactor: Any, hop: Hop, name: str, login: Login | None) -> Connection:
    factory = Factory.forProtocol(lambda: Connection(reactor, hop, name, login))
    factory.noisy = False
    endpoint = HostnameEndpoint(reactor, hop.host, hop.port, timeout=CONNECT)
    try:
        connection = cast("Connection", await endpoint.connect(factory))
    except Exception as error:
        text = f"Cannot connect to {hop}: {str(error) or type(error).__name__}"
        raise HopError(Reply(451, "4.4.1", text)) from error
    try:
        await connection.open()
    except BaseException:
        connection.abort()
        raise
    return connection
