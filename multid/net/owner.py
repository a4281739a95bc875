"""Which process holds a port, as far as /proc lets us see it."""

import os
from pathlib import Path

from multid.config.address import Address


def owner(address: Address) -> str | None:
    """Return `name (pid N)` of a process that has a socket on the address's port, None where it cannot be known."""
    if not address.port:
        return None
    inodes = _inodes("udp" if address.is_datagram else "tcp", address.port)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _has_socket(process, inodes):
            return f"{_name(process)} (pid {process.name})"
    return None


def _inodes(protocol: str, port: int) -> set[str]:
    """Return the inodes of the bound (UDP) and listening (TCP) sockets on a port, of IPv4 and IPv6."""
    found = set()
    listening = {"tcp": "0A", "udp": "07"}[protocol]
    for table in (protocol, protocol + "6"):
        try:
            rows = Path("/proc/net", table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == listening:
                found.add(f"socket:[{fields[9]}]")
    return found


def _has_socket(process: Path, inodes: set[str]) -> bool:
    try:
        return any(os.readlink(entry) in inodes for entry in (process / "fd").iterdir())
    except OSError:
        return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a program"
