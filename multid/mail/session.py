"""The server's side of one SMTP conversation, without I/O: octets in, events out. Pure.

RFC 5321 with PIPELINING (2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), ENHANCEDSTATUSCODES (2034), CHUNKING
and BINARYMIME (3030), DSN (3461), STARTTLS (3207) and AUTH (4954).

`start`, `receive` and `answer` return the events (`multid.mail.events`) to be carried out in order. After an event
that waits, nothing is read until `answer` comes, so replies are in order whatever takes its time; octets that come
meanwhile are kept.

Guarantees: the same octets give the same replies however they are split. Every reply to a command is one `Reply`.
Only a peer that is trusted or has logged in relays. Nothing that came in clear behind STARTTLS is ever read. Content
never becomes a command: what is wrong with a mail is told at its end, and after twice the size limit the connection
is closed. A command line is at most 2 KiB, in AUTH 12 KiB; after a longer one, after `max_errors` refusals, after 300
commands more than a mail may have recipients and no mail, and for HTTP the connection is closed: so what one client can
make us do and say in one go is bounded.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

from multid.mail import sasl
from multid.mail.commands import CommandError, Mail, parse_greeting, parse_mail, parse_rcpt
from multid.mail.dialogue import State
from multid.mail.events import Authenticate, Begin, Refused, StartTls
from multid.mail.intake import Intake
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
    BYE,
    CANCELLED,
    CANNOT_VERIFY,
    DECLARED_TOO_BIG,
    DENIED,
    EHLO_FIRST,
    HELO_FIRST,
    HELP,
    IN_CHUNKS,
    MAIL_FIRST,
    NESTED,
    NO_ARGUMENT,
    NO_HTTP,
    NOT_IMPLEMENTED,
    READY_FOR_TLS,
    RECIPIENT_OK,
    SENDER_DENIED,
    SENDER_OK,
    TLS_NEEDED,
    TOO_LONG,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    UNKNOWN,
)
from multid.mail.reply import OK, Reply
from multid.mail.transaction import Client, Transaction

MAX_COMMAND = 2048
MAX_AUTH_LINE = 12288

_HTTP = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "TRACE", "PATCH"}
_NOT_IMPLEMENTED = {"EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML"}
_BEFORE_TLS = {"EHLO", "NOOP", "QUIT", "STARTTLS", "BDAT"}

_SHOWN = re.compile(r"(?:MAIL FROM|RCPT TO):", re.IGNORECASE)


class Session(Intake):
    """A conversation with all its commands."""

    _is_esmtp = False
    _exchange: sasl.Exchange | None = None
    _auth_failures = 0

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
        self._commands += 1
        if self._state == "auth":
            reply, what = self._respond(line), "AUTH"
        else:
            reply, what = self._command(line), ""
        if reply is not None:
            self._reply(reply)
            if not reply.is_positive:
                self._emit(Refused(what or self._shown(line), reply))
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

    def _shown(self, line: bytes) -> str:
        """Return of a command line what a log may show: MAIL and RCPT whole, else the verb if it is one of SMTP."""
        text = _text(line) or ""
        if _SHOWN.match(text):
            return text[:200]
        verb = text.partition(" ")[0].upper()
        return verb if verb in self._COMMANDS else "a command"

    def _unknown(self, verb: str) -> Reply | None:
        if verb in _NOT_IMPLEMENTED:
            return NOT_IMPLEMENTED
        if verb not in _HTTP:
            return UNKNOWN
        self._reply(NO_HTTP)
        self._close("HTTP")
        return None

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

    _COMMANDS: ClassVar[dict[str, Callable[[Any, str], Reply | None]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "MAIL": _mail_from,
        "RCPT": _rcpt_to,
        "DATA": Intake.data,
        "BDAT": Intake.bdat,
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
        "data": Intake.read_data,
        "chunk": Intake.read_chunk,
        "waiting": Intake.stop,
        "closed": Intake.stop,
    }


def _text(line: bytes) -> str | None:
    """Return a line without its CRLF, or None if it has no CRLF or anything that is not printable."""
    if not line.endswith(b"\r\n"):
        return None
    try:
        text = line[:-2].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
