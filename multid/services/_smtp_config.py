"""The keys of an `smtp` stanza, and the plain values that the parts of the relay take of them."""

import ipaddress
import re
import socket
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from multid.config.model import Duration, FilePath, Limits, Model, Networks, Rate, Secret, ServiceConfig, Size
from multid.mail.address import Pattern, parse_mailbox
from multid.mail.complete import Completion
from multid.mail.retry import RetryPolicy
from multid.mail.rewrite import RecipientRule, Rewriting, SenderRule
from multid.mail.route import Hop, Login, Route, parse_hop
from multid.mail.settings import InboundSettings


def _pattern(value: Any) -> Any:
    return Pattern(value) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else (value,)


def _domain(value: str) -> str:
    return parse_mailbox(f"postmaster@{value}").removeprefix("postmaster@")


AddressPattern = Annotated[
    Pattern, BeforeValidator(_pattern), PlainSerializer(str, when_used="json"), WithJsonSchema({"type": "string"})
]
"""Addresses, written `*@example.org`, `root@*`, `*`, or `<>` for the null sender."""

Address = Annotated[str, AfterValidator(parse_mailbox)]
Domain = Annotated[str, AfterValidator(_domain)]
_ONE_OR_MORE = WithJsonSchema({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})


class SmtpLimits(Limits):
    """How much the relay takes on."""

    size: Size = Field(default=25 << 20, ge=65536, description="octets of a mail")
    recipients: int = Field(default=100, ge=1, description="recipients of a mail; more are told to come again (452)")
    errors: int = Field(default=10, ge=1, description="commands refused before a connection is closed")


class Auth(Model):
    """Who may relay from anywhere."""

    users: FilePath = Field(description="htpasswd file with bcrypt passwords, as `multid passwd` makes them")
    require_tls: bool = Field(default=True, description="passwords are taken under TLS only")


class Headers(Model):
    """What is added to a mail that lacks it."""

    date: Literal["add", "keep"] = Field(default="add", description="the Date field: added, or kept as it is")
    message_id: Literal["add", "keep"] = Field(default="add", description="the Message-ID field")
    from_: Literal["add", "keep"] = Field(default="add", alias="from", description="the From field, from the sender")
    domain: Domain | None = Field(
        default=None, description="domain of addresses that have none, and of Message-ID; by default the hostname"
    )


class Rewrite(Model):
    """One rule: mail of a sender gets another, or mail to a recipient goes to others."""

    sender: AddressPattern | None = Field(
        default=None, description="senders, in the envelope and in From, Sender and Reply-To"
    )
    recipient: AddressPattern | None = Field(default=None, description="recipients, in the envelope only")
    to: Annotated[tuple[Address, ...], BeforeValidator(_listed), _ONE_OR_MORE] = Field(
        min_length=1, description="the address instead; of recipients, one or a list"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.sender is None) == (self.recipient is None):
            raise ValueError("a rewrite rule names either 'sender' or 'recipient'")
        if self.sender is not None and len(self.to) > 1:
            raise ValueError("a sender is rewritten to one address")
        return self


class RouteAuth(Model):
    """How the relay logs in at the next hop."""

    user: str = Field(min_length=1, description="user name")
    password: Secret = Field(description="the password: {file: PATH}, {env: NAME} or {credential: NAME}")


def _via(value: Any) -> Any:
    for url in _listed(value) if value != "mx" else ():
        parse_hop(str(url), "opportunistic")
    return _listed(value)


class RouteConfig(Model):
    """One route; the first that matches a mail's sender and recipient is taken."""

    sender: AddressPattern | None = Field(default=None, description="mail of these senders; by default of all")
    recipient: AddressPattern | None = Field(default=None, description="mail to these recipients; by default to all")
    via: Annotated[tuple[str, ...], BeforeValidator(_via), _ONE_OR_MORE] = Field(
        min_length=1,
        description="smtp://HOST:PORT or smtps://HOST:PORT, a list of them tried in order, or mx: the recipient's own",
    )
    tls: Literal["none", "opportunistic", "required", "implicit"] | None = Field(
        default=None, description="TLS of smtp: hops; by default required with auth, else opportunistic"
    )
    auth: RouteAuth | None = Field(default=None, description="how to log in there")
    rate: Rate | None = Field(default=None, description="mails a second")
    connections: int = Field(default=10, ge=1, description="connections at a time, to each server")

    @model_validator(mode="after")
    def _not_mixed(self) -> Self:
        if "mx" in self.via and (len(self.via) > 1 or self.auth is not None):
            raise ValueError("'mx' stands alone, and without auth")
        return self

    def route(self, name: str) -> Route:
        """Return the route, with its password read; OSError, KeyError or ValueError where that cannot be."""
        tls = self.tls or ("required" if self.auth is not None else "opportunistic")
        hops: tuple[Hop, ...] = () if self.via == ("mx",) else tuple(parse_hop(url, tls) for url in self.via)
        login = Login(self.auth.user, self.auth.password.read()) if self.auth is not None else None
        return Route(name, hops, self.sender, self.recipient, tls, login, self.rate, self.connections)


class Retry(Model):
    """When mail that could not be delivered is tried again."""

    schedule: tuple[Annotated[Duration, Field(gt=0)], ...] = Field(
        default=(60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
        min_length=1,
        description="waiting times between tries; the last is repeated",
    )
    jitter: float = Field(default=0.2, ge=0, le=0.9, description="part by which a waiting time varies at random")
    warn: Duration | None = Field(default=4 * 3600.0, description="age at which the sender is told of the delay")
    expire: Duration = Field(default=4 * 86400.0, gt=0, description="age at which a mail is given up and returned")


class Bounces(Model):
    """Reports of mail that could not be delivered."""

    postmaster: Address | None = Field(
        default=None, description="who gets reports that cannot be delivered, and mail to <Postmaster>"
    )
    per_sender: Rate = Field(default=20 / 3600, description="reports to one sender")


class Queue(Model):
    """Where mail waits."""

    path: FilePath | None = Field(default=None, description="its directory; by default mail in state_dir")
    inline: Size = Field(default=128 << 10, description="mails above this size lie in a file of their own")
    minimum_free: Size = Field(default=64 << 20, description="below this free space no mail is accepted (452)")


_LOOPBACK: Any = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class SmtpConfig(ServiceConfig):
    """A mail relay for the hosts and programs around it."""

    hostname: Domain | None = Field(default=None, description="name in greetings and headers; by default the machine's")
    networks: Networks = Field(default=_LOOPBACK, description="networks that may relay without AUTH")
    senders: Annotated[tuple[AddressPattern, ...], BeforeValidator(_listed)] = Field(
        default=(), description="the only senders that are accepted, from anybody; <> is the null sender"
    )
    auth: Auth | None = Field(default=None, description="users who may relay from anywhere; absent: no AUTH")
    starttls: Literal["off", "optional", "required"] | None = Field(
        default=None, description="off, optional or required; by default optional where tls is given"
    )
    limits: SmtpLimits = Field(default=SmtpLimits(), description="how much the service takes on")
    bare_newline: Literal["normalize", "reject"] = Field(
        default="normalize", description="a lone CR or LF in a mail: made CRLF, or the mail is refused"
    )
    headers: Headers = Field(default=Headers(), description="what is added to a mail that lacks it")
    rewrite: tuple[Rewrite, ...] = Field(default=(), description="other addresses; the first rule that matches counts")
    routes: tuple[RouteConfig, ...] = Field(
        default=(), description="where mail goes; the first match counts; without a match it stays in the queue"
    )
    retry: Retry = Field(default=Retry(), description="when mail is tried again")
    bounces: Bounces = Field(default=Bounces(), description="reports of mail that could not be delivered")
    mode: Literal["relay", "hold", "capture"] = Field(
        default="relay", description="relay, hold (queue only) or capture (store, never send)"
    )
    queue: Queue = Field(default=Queue(), description="where mail waits")

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if self.tls is None and self.starttls in {"optional", "required"}:
            raise ValueError(f"'starttls: {self.starttls}' needs 'tls' with a certificate")
        if self.tls is None and self.auth is not None and self.auth.require_tls:
            raise ValueError("'auth' needs 'tls' with a certificate, or 'require_tls: false'")
        if any(address.is_datagram for address in self.listen):
            raise ValueError("mail comes over tcp:, ssl: or unix:, not in datagrams")
        if any(network.prefixlen == 0 for network in self.networks):
            raise ValueError("a network of everybody in 'networks' makes an open relay; use 'auth'")
        return self

    def own_directory(self, state_dir: Path) -> tuple[tuple[str, ...], Path]:
        """ServiceConfig API: that of the queue."""
        return ("queue", "path"), self.queue.path or state_dir / "mail"

    @property
    def name(self) -> str:
        """The host's name, as told or as the machine has it."""
        return self.hostname or machine_name()

    def inbound(self) -> InboundSettings:
        """Return how mail is taken in."""
        domain = self.headers.domain or self.name
        rules = self.rewrite
        return InboundSettings(
            hostname=self.name,
            domain=domain,
            postmaster=self.bounces.postmaster or f"postmaster@{domain}",
            senders=self.senders,
            starttls=self.starttls or ("off" if self.tls is None else "optional"),
            auth="off" if self.auth is None else "tls" if self.auth.require_tls else "plain",
            max_size=self.limits.size,
            max_recipients=self.limits.recipients,
            max_errors=self.limits.errors,
            bare_newline=self.bare_newline,
            slowest=self.timeouts.idle,
            completion=Completion(
                date=self.headers.date == "add",
                message_id=self.headers.message_id == "add",
                from_=self.headers.from_ == "add",
            ),
            rewriting=Rewriting(
                senders=tuple(SenderRule(rule.sender, rule.to[0]) for rule in rules if rule.sender),
                recipients=tuple(RecipientRule(rule.recipient, rule.to) for rule in rules if rule.recipient),
            ),
        )

    def retry_policy(self) -> RetryPolicy:
        """Return when mail is tried again."""
        return RetryPolicy(self.retry.schedule, self.retry.jitter, self.retry.warn, self.retry.expire)

    def route_table(self) -> tuple[Route, ...]:
        """Return the routes, with their passwords read; ValueError, without any password, where one cannot be."""
        table = []
        for number, config in enumerate(self.routes, 1):
            try:
                table.append(config.route(f"{number}:{','.join(config.via)}"))
            except (OSError, KeyError, ValueError) as error:
                raise ValueError(f"route {number}: the password cannot be read: {_why(error)}") from None
        return tuple(table)


def _why(error: Exception) -> str:
    """Say what is wrong with a secret; what may hold a part of it is told by its kind alone."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError):
        return f"the environment has no {error.args[0]}"
    return type(error).__name__


@cache
def machine_name() -> str:
    """Return the machine's full name if it is fit for a greeting, else localhost; DNS is asked at most once."""
    name = socket.gethostname()
    if "." not in name:
        full = socket.getfqdn(name)
        name = name if full.startswith("localhost") else full  # its address in /etc/hosts is often that of the loopback
    return name if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name) else "localhost"
