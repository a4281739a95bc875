"""The listening sockets of the process: bound once, kept over reloads, inherited over restarts.

A service borrows a socket by its address and gives it back when the file names the address no more; in between a
stanza may change its type or name and the socket, with the connections that wait in it, stays the same.
Sockets are non-blocking, `::` is IPv6 only (IPV6_V6ONLY), and nobody calls shutdown(2) on them.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from multid.config.address import Address
from multid.net.owner import owner
from multid.service import ServiceError

Key = tuple[object, ...]


class BindError(ServiceError):
    """An address that cannot be bound: the text says why, and who has it where that can be known."""

    def __init__(self, address: Address, error: OSError) -> None:
        self.address = address
        self.errno = error.errno
        super().__init__(f"cannot listen on {address}: {_why(address, error)}")


class SocketStore:
    """Every listening socket by its address; `inherited` are those a service manager kept for us, by name.

    `datagram_ports` holds every UDP port that is served here: a datagram from one of them is never answered.
    """

    def __init__(self, inherited: dict[str, list[socket.socket]] | None = None) -> None:
        self._held: dict[Key, socket.socket] = {}
        self._inherited = inherited or {}
        self.datagram_ports: set[int] = set()

    def bind(self, address: Address, service: str) -> socket.socket:
        """Return a service's socket of an address: one already held, inherited, or a new one; raise BindError."""
        key = _key(address, service)
        if key in self._held:
            return self._held[key]
        try:
            sock = self._adopt(address) or _bound(address)
        except OSError as error:
            raise BindError(address, error) from None
        sock.setblocking(False)
        self._held[key] = sock
        self._note_datagram_ports()
        return sock

    def keep(self, wanted: Iterable[tuple[Address, str]]) -> None:
        """Close every socket but those of the addresses and services given; remove the file of a UNIX socket."""
        keys = {_key(address, service) for address, service in wanted}
        for key in [key for key in self._held if key not in keys]:
            sock = self._held.pop(key)
            path = sock.getsockname() if sock.family == socket.AF_UNIX else None
            sock.close()
            if path:
                Path(path).unlink(missing_ok=True)
        self._note_datagram_ports()

    def _note_datagram_ports(self) -> None:
        self.datagram_ports.clear()
        self.datagram_ports.update(
            sock.getsockname()[1] for sock in self._held.values() if sock.type == socket.SOCK_DGRAM
        )

    def _adopt(self, address: Address) -> socket.socket | None:
        wanted = socket.SOCK_DGRAM if address.is_datagram else socket.SOCK_STREAM
        for sock in self._inherited.get(address.name, ()):
            if sock.type == wanted:
                self._inherited[address.name].remove(sock)
                return sock
        if address.transport in {"systemd", "systemd-udp"}:
            raise OSError(errno.ENOENT, f"the service manager passed no socket named {address.name!r}")
        return None


def _key(address: Address, service: str) -> Key:
    """Return what two stanzas must share to share a socket; a port that the kernel chooses is a service's own."""
    is_chosen = address.transport in {"tcp", "udp", "ssl"} and address.port == 0
    return (*address.key, service if is_chosen else "")


def _bound(address: Address) -> socket.socket:
    if address.transport == "unix":
        return _bound_unix(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if address.is_datagram else socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not address.is_datagram:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket.getaddrinfo(address.host, address.port, family, flags=socket.AI_NUMERICHOST)[0][4])
        if not address.is_datagram:
            sock.listen(address.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_unix(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(address.path)
        before = os.umask(0o177)
        try:
            sock.bind(address.path)
        finally:
            os.umask(before)
        Path(address.path).chmod(address.mode)
        sock.listen(address.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on; leave a living one and what is no socket for bind(2) to refuse."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            return


def _why(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        who = owner(address)
        return f"in use by {who}" if who else "in use by another program"
    if error.errno == errno.EACCES and 0 < address.port < 1024:
        return "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
    return (error.strerror or str(error)).lower() if error.errno != errno.ENOENT else str(error.strerror)
