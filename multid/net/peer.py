"""Who is at the other end."""

import ipaddress
from typing import NamedTuple


class Peer(NamedTuple):
    """An address as the kernel (or a trusted proxy) tells it: IP text and port; of a UNIX socket, `unix` and a pid."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether the peer is on this host for sure: loopback or a UNIX socket."""
        return self.host.startswith("127.") or self.host in {"::1", "unix"}

    @property
    def group(self) -> str:
        """What limits per peer count as one peer: an IPv4 address, or the /64 network of an IPv6 address."""
        return source_prefix(self.host)


def unmapped(host: str) -> str:
    """Return an IPv4 address as such, also where the kernel tells it mapped into IPv6 (a socket of both families)."""
    return host[7:] if "." in host and host.startswith("::ffff:") else host


def source_prefix(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host)
    scope = f"%{address.scope_id}" if address.scope_id else ""
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}{scope}/64"
