"""Where lines are forwarded to: `tcp:HOST:PORT`, `ssl:HOST:PORT` or `udp:HOST:PORT`. Pure."""

import re
from dataclasses import dataclass
from typing import Literal

_FORM = re.compile(r"(tcp|ssl|udp):(\[[0-9A-Fa-f:.%]+\]|(?:[^:\[\]\s\\]|\\:)+):(\d{1,5})")


@dataclass(frozen=True)
class NextHop:
    """A host, a port, and how it is spoken to."""

    transport: Literal["tcp", "ssl", "udp"]
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


def parse_next_hop(text: str) -> NextHop:
    r"""Return the next hop that a text names; an IPv6 address stands in brackets, or its colons as `\:`."""
    found = _FORM.fullmatch(text)
    if not found or not 0 < int(found[3]) < 65536:
        raise ValueError(f"a next hop is tcp:HOST:PORT, ssl:HOST:PORT or udp:HOST:PORT, not {text!r}")
    transport, host, port = found.groups()
    return NextHop(transport, host.strip("[]").replace("\\:", ":"), int(port))  # type: ignore[arg-type]
