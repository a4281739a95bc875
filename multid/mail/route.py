"""Where a mail goes next: routes by sender and recipient, the first that matches. Pure.

A route is a list of next hops that are tried in order (`smtp://10.0.0.5:25`, `smtps://mx.example:465`), or `mx`: the
mail exchangers of the recipient's domain. Routes are frozen values: after a reload equal routes keep their connections
and what is known of them, and mail that is queued follows the new ones.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from multid.mail.address import Pattern, split_mailbox

TlsMode = Literal["none", "opportunistic", "required", "implicit"]

_URL = re.compile(r"(smtps?)://(\[[0-9A-Fa-f:.]+\]|[^:/@\[\]\s]+)(?::(\d{1,5}))?/?")
_PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Hop:
    """One server: its name or address, port, and how TLS is used with it."""

    host: str
    port: int
    tls: TlsMode

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Whom a next hop knows us as; the password is in no text of it."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Route:
    """A rule and what it leads to; without `hops` the recipient's mail exchangers. `rate` is mails a second."""

    name: str
    hops: tuple[Hop, ...] = ()
    sender: Pattern | None = None
    recipient: Pattern | None = None
    tls: TlsMode = "opportunistic"
    login: Login | None = None
    rate: float | None = None
    connections: int = 10

    def matches(self, sender: str, recipient: str) -> bool:
        """Whether mail of this sender to this recipient takes this route."""
        fits_sender = self.sender is None or self.sender.matches(sender)
        return fits_sender and (self.recipient is None or self.recipient.matches(recipient))

    def destination(self, recipient: str) -> str:
        """Return the domain whose exchangers take the mail; empty where the hops are given."""
        return "" if self.hops else split_mailbox(recipient)[1].casefold()


def find_route(routes: tuple[Route, ...], sender: str, recipient: str) -> Route | None:
    """Return the first route that matches, or None."""
    return next((route for route in routes if route.matches(sender, recipient)), None)


def parse_hop(url: str, tls: TlsMode) -> Hop:
    """Return the hop that a URL names, with TLS as said unless it is smtps; ValueError says what a URL looks like."""
    match = _URL.fullmatch(url)
    if match is None or int(match[3] or 1) not in range(1, 65536):
        raise ValueError(f"a next hop is written smtp://HOST:PORT or smtps://HOST:PORT, not {url!r}")
    scheme, host, port = match.groups()
    return Hop(host.strip("[]"), int(port or _PORTS[scheme]), "implicit" if scheme == "smtps" else tls)
