"""What the inbound side of a relay is told, as plain frozen values, which the service makes of the file. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from multid.mail.address import Pattern
from multid.mail.complete import Completion
from multid.mail.rewrite import Rewriting


@dataclass(frozen=True)
class InboundSettings:
    """How mail is taken in. Sizes are octets, times are seconds.

    `senders` empty lets every sender in. `auth` is off, or the users may log in: under TLS only (`tls`), or always
    (`plain`). `postmaster` is whom `<Postmaster>` without a domain means.
    """

    hostname: str
    domain: str
    postmaster: str
    senders: tuple[Pattern, ...] = ()
    starttls: Literal["off", "optional", "required"] = "off"
    auth: Literal["off", "tls", "plain"] = "off"
    max_size: int = 25 << 20
    max_recipients: int = 100
    max_errors: int = 10
    max_auth_failures: int = 3
    max_hops: int = 50
    bare_newline: Literal["normalize", "reject"] = "normalize"
    slowest: float = 300.0
    completion: Completion = field(default_factory=Completion)
    rewriting: Rewriting = field(default_factory=Rewriting)

    @property
    def most_data(self) -> int:
        """Octets of a mail that is refused for its size which are still read to its end."""
        return 2 * self.max_size + (1 << 20)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is connected: `host` is an IP address, or empty for a UNIX socket; `is_trusted` may relay without AUTH."""

    host: str = ""
    port: int = 0
    is_trusted: bool = False

    def __str__(self) -> str:
        if not self.host:
            return "unix"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def literal(self) -> str:
        """The address as RFC 5321 4.1.3 writes it."""
        if not self.host:
            return ""
        host = self.host.partition("%")[0]
        return f"[IPv6:{host}]" if ":" in host else f"[{host}]"
