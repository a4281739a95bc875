"""The server's side of one SMTP conversation, without I/O: octets in, events out. Pure.

RFC 5321 with PIPELINING (2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), ENHANCEDSTATUSCODES (2034), CHUNKING
and BINARYMIME (3030), DSN (3461), STARTTLS (3207) and AUTH (4954).

`start`, `receive` and `answer` return the events (`multid.mail.events`) to be carried out in order. After an event
that waits, nothing is read until `answer` comes, so replies are in order whatever takes its time; octets that come
meanwhile are kept.

Guarantees: the same octets give the same replies however they are split. Every reply to a command is one `Reply`.
Only a peer that is trusted or has logged in relays. Nothing that came in clear behind STARTTLS is ever read. Content
never becomes a command: what is wrong with a mail is told at its end, and after twice the size limit the connection
is closed. A command line is at most 2 KiB, in AUTH 12 KiB; after a longer one, after `max_errors` refusals, and for
HTTP the connection is closed.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal

from multid.mail import sasl
from multid.mail.commands import CommandError, Mail, parse_bdat, parse_greeting, parse_mail, parse_rcpt
from multid.mail.events import Append, Authenticate, Begin, Close, Commit, Discard, Event, Refused, Send, StartTls
from multid.mail.replies import (
    ALREADY_AUTH,
    ALREADY_TLS,
    ARGUMENT_NEEDED,
    AUTH_NEEDED,
    AUTH_TLS_NEEDED,
    AUTH_TOO_LONG,
    BAD_LINE,
    BAD_MECHANISM,
    BAD_RESPONSE,
    BDAT_ONLY,
    BYE,
    CANCELLED,
    CANNOT_VERIFY,
    DECLARED_TOO_BIG,
    DENIED,
    EHLO_FIRST,
    GO_AHEAD,
    HELO_FIRST,
    HELP,
    IN_CHUNKS,
    MAIL_FIRST,
    NESTED,
    NO_ARGUMENT,
    NO_HTTP,
    NO_RECIPIENTS,
    NOT_IMPLEMENTED,
    READY_FOR_TLS,
    RECIPIENT_OK,
    RESET_FIRST,
    SENDER_DENIED,
    SENDER_OK,
    TLS_NEEDED,
    TOO_LONG,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    TOO_MUCH_DATA,
    UNKNOWN,
)
from multid.mail.reply import OK, Reply
from multid.mail.settings import InboundSettings, Peer
from multid.mail.transaction import Client, Transaction

MAX_COMMAND = 2048
MAX_AUTH_LINE = 12288

_HTTP = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "TRACE", "PATCH"}
_NOT_IMPLEMENTED = {"EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML"}
_BEFORE_TLS = {"EHLO", "HELO", "NOOP", "QUIT", "STARTTLS", "BDAT"}

State = Literal["command", "auth", "data", "chunk", "waiting", "closed"]


class Session:
    """One conversation; `tls` is the protocol version, empty in clear."""

    def __init__(
        self, settings: InboundSettings, peer: Peer, *, tls: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self.tls = tls
        self.user = ""
        self.helo = ""
        self._settings = settings
        self._peer = peer
        self._clock = clock
        self._is_esmtp = False
        self._errors = 0
        self._auth_failures = 0
        self._state: State = "command"
        self._buffer = b""
        self._at = 0
        self._events: list[Event] = []
        self._replies: list[Reply] = []
        self._answered: Callable[[Any], None] | None = None
        self._ending: Reply | None = None
        self._mail: Transaction | None = None
        self._exchange: sasl.Exchange | None = None
        self._chunk_left = 0
        self._is_last_chunk = False
        self._chunk_refusal: Reply | None = None

    def start(self) -> list[Event]:
        """Greet the client."""
        self._reply(Reply(220, "", f"{self._settings.hostname} ESMTP"))
        return self._run()

    def receive(self, data: bytes) -> list[Event]:
        """Take octets of the client."""
        self._buffer += data
        return self._run()

    def answer(self, answer: Any = None) -> list[Event]:
        """Go on with what the last event waited for."""
        answered, self._answered = self._answered, None
        if answered is None:
            raise RuntimeError("no event waits for an answer")
        if self._state == "waiting":
            self._state = "command"
            answered(answer)
        return self._run()

    def end(self, reply: Reply, *, at_once: bool = False) -> list[Event]:
        """Close with a 421 reply: at once, or when the mail whose content is coming in has its answer."""
        self._ending = reply
        if at_once and self._state != "closed":
            self._state = "command"
        return self._run()

    def _run(self) -> list[Event]:
        self._settle()
        while self._at < len(self._buffer) and self._STEPS[self._state](self):
            self._settle()
        self._buffer, self._at = (b"" if self._state == "closed" else self._buffer[self._at :]), 0
        self._flush()
        events, self._events = self._events, []
        return events

    def _settle(self) -> None:
        if self._state not in {"command", "auth"}:
            return
        last = self._ending or (TOO_MANY_ERRORS if self._errors >= self._settings.max_errors else None)
        if last is not None:
            self._reply(last)
            self._close(last.text)

    def _reply(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._errors += reply.is_permanent

    def _flush(self) -> None:
        if self._replies:
            self._events.append(Send(b"".join(map(bytes, self._replies))))
            self._replies = []

    def _emit(self, event: Event) -> None:
        self._flush()
        self._events.append(event)

    def _wait(self, event: Event, answered: Callable[[Any], None]) -> None:
        self._emit(event)
        self._answered = answered
        self._state = "waiting"

    def _close(self, reason: str) -> None:
        self._forget_mail()
        self._emit(Close(reason))
        self._state = "closed"

    def _forget_mail(self) -> None:
        if self._mail is not None:
            self._mail = None
            self._emit(Discard())

    def _stop(self) -> bool:
        return False

    # Command lines.

    def _read_line(self) -> bool:
        limit, too_long = (MAX_AUTH_LINE, AUTH_TOO_LONG) if self._state == "auth" else (MAX_COMMAND, TOO_LONG)
        end = self._buffer.find(b"\n", self._at)
        if (end if end >= 0 else len(self._buffer)) - self._at > limit:
            self._reply(too_long)
            self._close("line too long")
            return False
        if end < 0:
            return False
        line, self._at = self._buffer[self._at : end + 1], end + 1
        reply = self._respond(line) if self._state == "auth" else self._command(line)
        if reply is not None:
            self._reply(reply)
            if not reply.is_positive:
                self._emit(Refused(_shown(line), reply))
        return True

    def _command(self, line: bytes) -> Reply | None:
        text = _text(line)
        if text is None:
            return BAD_LINE
        verb, _, argument = text.rstrip(" ").partition(" ")
        verb = verb.upper()
        command = self._COMMANDS.get(verb)
        if command is None:
            return self._unknown(verb)
        if self._needs_tls and verb not in _BEFORE_TLS:
            return TLS_NEEDED
        try:
            return command(self, argument.strip(" "))
        except CommandError as error:
            return error.reply

    def _unknown(self, verb: str) -> Reply | None:
        if verb in _NOT_IMPLEMENTED:
            return NOT_IMPLEMENTED
        if verb not in _HTTP:
            return UNKNOWN
        self._reply(NO_HTTP)
        self._close("HTTP")
        return None

    @property
    def _needs_tls(self) -> bool:
        return self._settings.starttls == "required" and not self.tls

    def _ehlo(self, argument: str) -> Reply:
        self._greeted(argument, is_esmtp=True)
        return Reply(250, "", "\n".join([self._settings.hostname, *self._extensions()]))

    def _helo(self, argument: str) -> Reply:
        self._greeted(argument, is_esmtp=False)
        return Reply(250, "", self._settings.hostname)

    def _greeted(self, argument: str, *, is_esmtp: bool) -> None:
        self.helo = parse_greeting(argument)
        self._is_esmtp = is_esmtp
        self._forget_mail()

    def _extensions(self) -> Iterator[str]:
        yield from ("PIPELINING", f"SIZE {self._settings.max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
        yield from ("CHUNKING", "BINARYMIME", "DSN")
        if self._settings.starttls != "off" and not self.tls:
            yield "STARTTLS"
        if self._offers_auth:
            yield "AUTH " + " ".join(sasl.MECHANISMS)

    def _mail_from(self, argument: str) -> Reply | None:
        if not self.helo:
            return HELO_FIRST
        if self._mail is not None:
            return NESTED
        if self._settings.auth != "off" and not self._may_relay:
            return AUTH_NEEDED
        mail = parse_mail(argument, self._settings.domain)
        if mail.size > self._settings.max_size:
            return DECLARED_TOO_BIG
        if self._settings.senders and not any(pattern.matches(mail.sender) for pattern in self._settings.senders):
            return SENDER_DENIED
        self._wait(Begin(mail.size), partial(self._begun, mail))
        return None

    def _begun(self, mail: Mail, answer: str | Reply) -> None:
        if isinstance(answer, Reply):
            self._reply(answer)
            return
        client = Client(self._peer, self.helo, self._is_esmtp, self.tls, self.user)
        self._mail = Transaction(self._settings, mail, client, answer, self._clock())
        self._reply(SENDER_OK)

    @property
    def _may_relay(self) -> bool:
        return self._peer.is_trusted or bool(self.user)

    def _rcpt_to(self, argument: str) -> Reply:
        mail, settings = self._mail, self._settings
        if mail is None:
            return MAIL_FIRST
        if mail.is_chunked:
            return IN_CHUNKS
        recipient = parse_rcpt(argument, settings.domain, utf8=mail.mail.smtputf8, postmaster=settings.postmaster)
        if not self._may_relay:
            return DENIED
        if len(mail.recipients) >= settings.max_recipients and recipient.address not in mail.recipients:
            return TOO_MANY_RECIPIENTS
        mail.recipients.setdefault(recipient.address, recipient)
        return RECIPIENT_OK

    def _vrfy(self, argument: str) -> Reply:
        return CANNOT_VERIFY if argument else ARGUMENT_NEEDED

    def _noop(self, _argument: str) -> Reply:
        return OK

    def _help(self, _argument: str) -> Reply:
        return HELP

    def _rset(self, argument: str) -> Reply:
        if argument:
            return NO_ARGUMENT
        self._forget_mail()
        return OK

    def _quit(self, _argument: str) -> None:
        self._reply(BYE)
        self._close("QUIT")

    # TLS and AUTH.

    def _starttls(self, argument: str) -> Reply | None:
        if argument:
            return NO_ARGUMENT
        if self._settings.starttls == "off":
            return NOT_IMPLEMENTED
        if self.tls:
            return ALREADY_TLS
        self._reply(READY_FOR_TLS)
        if self._at < len(self._buffer):
            self._close("octets in clear behind STARTTLS")
            return None
        self._wait(StartTls(), self._tls_started)
        return None

    def _tls_started(self, version: str) -> None:
        if self._buffer:
            self._close("octets in clear behind STARTTLS")
            return
        self.tls = version
        self.helo = self.user = ""
        self._forget_mail()

    @property
    def _offers_auth(self) -> bool:
        return self._settings.auth == "plain" or (self._settings.auth == "tls" and bool(self.tls))

    def _auth(self, argument: str) -> Reply | None:
        if refusal := self._auth_refusal(argument):
            return refusal
        name, _, initial = argument.partition(" ")
        mechanism = sasl.MECHANISMS.get(name.upper())
        if mechanism is None:
            return BAD_MECHANISM
        self._exchange = mechanism()
        challenge = next(self._exchange)
        if not initial:
            return self._challenge(challenge)
        return self._respond(b"%s\r\n" % (b"" if initial == "=" else initial.encode()))

    def _auth_refusal(self, argument: str) -> Reply | None:
        if self._settings.auth == "off":
            return NOT_IMPLEMENTED
        if not argument:
            return ARGUMENT_NEEDED
        if not self._offers_auth:
            return AUTH_TLS_NEEDED
        if not self._is_esmtp or not self.helo:
            return EHLO_FIRST
        if self.user:
            return ALREADY_AUTH
        return NESTED if self._mail is not None else None

    def _challenge(self, challenge: bytes) -> Reply:
        self._state = "auth"
        return Reply(334, "", sasl.encode(challenge))

    def _respond(self, line: bytes) -> Reply | None:
        self._state = "command"
        exchange, text = self._exchange, _text(line)
        if exchange is None or text is None:
            return BAD_RESPONSE
        if text == "*":
            return CANCELLED
        try:
            return self._challenge(exchange.send(sasl.decode(text)))
        except StopIteration as finished:
            self._wait(Authenticate(finished.value), partial(self._authenticated, finished.value.user))
            return None
        except ValueError:
            return BAD_RESPONSE

    def _authenticated(self, user: str, reply: Reply) -> None:
        self._reply(reply)
        if reply.is_positive:
            self.user = user
        elif reply.is_permanent:
            self._auth_failures += 1
            if self._auth_failures >= self._settings.max_auth_failures:
                self._ending = TOO_MANY_ERRORS

    # Content.

    def _data(self, argument: str) -> Reply | None:
        if argument:
            return NO_ARGUMENT
        if self._mail is None:
            return MAIL_FIRST
        if self._mail.is_chunked:
            return IN_CHUNKS
        if self._mail.mail.body == "BINARYMIME":
            return BDAT_ONLY
        if not self._mail.recipients:
            return NO_RECIPIENTS
        self._state = "data"
        return GO_AHEAD

    def _read_data(self) -> bool:
        mail = self._transaction
        piece, rest = mail.dots.feed(self._buffer[self._at :] if self._at else self._buffer)
        self._at = len(self._buffer) - len(rest or b"")
        self._store(mail.feed(piece))
        if rest is not None:
            self._end_of_mail()
        return not self._gave_up()

    def _bdat(self, argument: str) -> Reply | None:
        size, self._is_last_chunk = parse_bdat(argument)
        self._chunk_refusal = self._refuse_chunk()
        self._chunk_left = size
        if size > 2 * self._settings.max_size + (1 << 20):
            self._reply(TOO_MUCH_DATA)
            self._close(TOO_MUCH_DATA.text)
            return None
        if self._mail is not None and self._chunk_refusal is None:
            self._mail.is_chunked = True
        self._state = "chunk"
        return None if size else self._end_of_chunk()

    def _refuse_chunk(self) -> Reply | None:
        if self._needs_tls:
            return TLS_NEEDED
        if self._mail is None:
            return MAIL_FIRST
        if self._mail.was_refused:
            return RESET_FIRST
        return None if self._mail.recipients else NO_RECIPIENTS

    def _read_chunk(self) -> bool:
        piece = self._buffer[self._at : self._at + self._chunk_left]
        self._at += len(piece)
        self._chunk_left -= len(piece)
        if self._chunk_refusal is None:
            self._store(self._transaction.feed(piece))
        if not self._chunk_left and (reply := self._end_of_chunk()):
            self._reply(reply)
        return not self._gave_up()

    def _end_of_chunk(self) -> Reply | None:
        self._state = "command"
        mail = self._mail
        if mail is None or self._chunk_refusal is not None:
            refusal = self._chunk_refusal
        else:
            refusal = mail.verdict
            mail.was_refused = refusal is not None
        if self._is_last_chunk and mail is not None and mail.is_chunked:
            if refusal is not None:
                self._forget_mail()
                return refusal
            self._end_of_mail()
            return None
        return refusal or OK

    @property
    def _transaction(self) -> Transaction:
        if self._mail is None:
            raise RuntimeError("content without a mail")
        return self._mail

    def _store(self, data: bytes) -> None:
        if data:
            self._emit(Append(data))

    def _gave_up(self) -> bool:
        if self._mail is None or not self._mail.is_far_too_big:
            return False
        self._reply(TOO_MUCH_DATA)
        self._close(TOO_MUCH_DATA.text)
        return True

    def _end_of_mail(self) -> None:
        mail = self._transaction
        self._store(mail.finish())
        if mail.verdict is None:
            self._wait(Commit(mail.envelope()), self._committed)
            return
        self._state = "command"
        self._forget_mail()
        self._reply(mail.verdict)
        self._emit(Refused(f"mail {mail.id}", mail.verdict))

    def _committed(self, reply: Reply) -> None:
        self._mail = None
        self._reply(reply)
        if reply.is_positive:
            self._errors = 0

    _COMMANDS: ClassVar[dict[str, Callable[[Any, str], Reply | None]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "MAIL": _mail_from,
        "RCPT": _rcpt_to,
        "DATA": _data,
        "BDAT": _bdat,
        "RSET": _rset,
        "NOOP": _noop,
        "QUIT": _quit,
        "VRFY": _vrfy,
        "HELP": _help,
        "STARTTLS": _starttls,
        "AUTH": _auth,
    }
    _STEPS: ClassVar[dict[State, Callable[[Any], bool]]] = {
        "command": _read_line,
        "auth": _read_line,
        "data": _read_data,
        "chunk": _read_chunk,
        "waiting": _stop,
        "closed": _stop,
    }


def _shown(line: bytes) -> str:
    """Return of a command line what a log may show: the addresses of MAIL and RCPT, else the known verb alone."""
    text = _text(line) or ""
    verb = text[:4].upper()
    if verb in {"MAIL", "RCPT"}:
        return text[:200]
    return verb if verb in {"DATA", "BDAT", "AUTH", "EHLO", "HELO", "STAR", "RSET", "VRFY"} else "a command"


def _text(line: bytes) -> str | None:
    """Return a line without its CRLF, or None if it has no CRLF or anything that is not printable."""
    if not line.endswith(b"\r\n"):
        return None
    try:
        text = line[:-2].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
