"""Who is at the other end."""

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
        if ":" not in self.host:
            return self.host
        return network64(self.host)


def network64(host: str) -> str:
    """Return the first four groups of an IPv6 address in the kernel's compressed text form."""
    head, gap, tail = host.partition("%")[0].partition("::")
    groups = head.split(":") if head else []
    if gap:
        last = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(last)) + last
    return ":".join(groups[:4])
