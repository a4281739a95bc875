"""The listening sockets of the process: bound once, kept over reloads, inherited over restarts.

A service borrows a socket by its address and gives it back when the file names the address no more; in between a
stanza may change its type or name and the socket, with the connections that wait in it, stays the same.
Sockets are non-blocking, `::` is IPv6 only (IPV6_V6ONLY), and nobody calls shutdown(2) on them.

A socket that came with the process is taken for the address it is bound to, whatever its name; by its name only where
the address says no more (`systemd:`, and port 0, which the kernel chooses). What we bind ourselves is given to the
`Keeper` under a name made of the address, and taken back from it when it is closed; so a restart or a crash of the
process refuses nobody. Where nobody keeps sockets, those that we bound are closed, and the files of UNIX sockets
removed, as soon as the daemon stops (`keep`). Whoever listens on a socket is called just before it is closed (`lend`):
a connection that the kernel has completed is somebody's, who must not be reset.

A port on every address of the host and the same on one of them exclude each other, but the file may go from one to the
other: the new socket is bound beside the old one of ours (SO_REUSEPORT, for just that long), and one of connections
listens only when `keep` says that it stays. So a reload that comes to nothing takes no connection away.
"""

import contextlib
import errno
import hashlib
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from multid.config.address import Address
from multid.net.owner import owner
from multid.service import ServiceError

Key = tuple[object, ...]
File = tuple[int, int]
"""Device and inode."""

_RECEIVE_BUFFER = 1 << 20
"""Octets of datagrams that may wait for us, as far as the kernel allows: a burst is not to be lost."""


class BindError(ServiceError):
    """An address that cannot be bound: the text says why, and who has it where that can be known."""

    def __init__(self, address: Address, error: OSError) -> None:
        self.address = address
        self.errno = error.errno
        super().__init__(f"cannot listen on {address}: {_why(address, error)}")


class Keeper(Protocol):
    """Who keeps sockets while the process is away: the service manager."""

    def store(self, name: str, sock: socket.socket) -> None:
        """Keep a socket under a name."""

    def remove(self, name: str) -> None:
        """Keep it no more."""


class SocketStore:
    """Every listening socket by its address; `inherited` are those that came with the process, by name.

    `datagram_ports` holds every UDP port that is served here: a datagram from one of them is never answered.
    """

    def __init__(self, inherited: dict[str, list[socket.socket]] | None = None, keeper: Keeper | None = None) -> None:
        self._held: dict[Key, socket.socket] = {}
        self._inherited = [(name, sock) for name, socks in (inherited or {}).items() for sock in socks]
        self._keeper = keeper
        self._managed: dict[Key, str] = {}
        """The names of sockets that we did not bind: they are another's, and may be needed again."""
        self._files: dict[Key, File | None] = {}
        """The files of UNIX sockets, to remove none that somebody else has put in its place."""
        self._beside: dict[Key, Address] = {}
        """What is bound beside another of ours and does not listen yet."""
        self._borrowers: dict[Key, Callable[[], None]] = {}
        self.datagram_ports: set[int] = set()

    def bind(self, address: Address, service: str) -> socket.socket:
        """Return a service's socket of an address: one already held, inherited, or a new one; raise BindError."""
        key = _key(address, service)
        if key in self._held:
            return self._held[key]
        try:
            self._held[key] = sock = self._adopt(address, key) or self._new(address, key)
        except OSError as error:
            raise BindError(address, error) from None
        sock.setblocking(False)
        if address.transport == "unix" and key not in self._managed:
            self._files[key] = _file(address.path)
        self._note_datagram_ports()
        return sock

    def lend(self, address: Address, service: str, finish: Callable[[], None]) -> None:
        """Say who listens on a socket now: `finish` takes what still waits there, just before it is closed."""
        self._borrowers[_key(address, service)] = finish

    def retune(self, address: Address, service: str) -> None:
        """Apply what may change of a socket in place: its backlog, the mode of its file."""
        key = _key(address, service)
        sock = self._held.get(key)
        if sock is None or address.is_datagram or _is_managed(address):
            return
        with contextlib.suppress(OSError):
            sock.listen(address.backlog)
            if key in self._files and self._files[key] == _file(address.path):
                Path(address.path).chmod(address.mode)

    def keep(self, wanted: Iterable[tuple[Address, str]]) -> None:
        """Close every socket but those of the addresses and services given; remove the file of a UNIX socket."""
        keys = {_key(address, service) for address, service in wanted}
        for key in self._beside.keys() & keys:
            if not self._beside[key].is_datagram:
                self._held[key].listen(self._beside[key].backlog)
        for key in [key for key in self._held if key not in keys]:
            sock = self._held.pop(key)
            finish = self._borrowers.pop(key, None)
            if key in self._managed:
                self._inherited.append((self._managed.pop(key), sock))
                continue
            if finish is not None:
                finish()
            if self._keeper is not None:
                self._keeper.remove(_name(key))
            if key in self._files:
                _remove(sock.getsockname(), self._files.pop(key))
            sock.close()
        if self._beside:
            self._beside.clear()
            _share_port([sock for key, sock in self._held.items() if key not in self._managed], shared=False)
        self._note_datagram_ports()

    def may_return(self, address: Address, service: str) -> bool:
        """Whether an address can be bound again after it was given up; not a low port, once privileges are shed."""
        sock = self._held.get(_key(address, service))
        if sock is None or sock.family == socket.AF_UNIX:
            return True
        with socket.socket(sock.family, sock.type) as other:
            try:
                other.bind(sock.getsockname())
            except OSError as error:  # that it may not is said before that it is in use
                return not isinstance(error, PermissionError)
        return True

    def _note_datagram_ports(self) -> None:
        self.datagram_ports.clear()
        self.datagram_ports.update(
            sock.getsockname()[1] for sock in self._held.values() if sock.type == socket.SOCK_DGRAM
        )

    def release(self) -> list[str]:
        """Close what was kept for us and nobody wants now; return the names of other sockets that wait in vain."""
        for name in {name for name, _ in self._inherited if name.startswith(_OURS)}:
            self._discard(name)
        return [name for name, _ in self._inherited]

    def _discard(self, name: str) -> None:
        stale = [sock for kept, sock in self._inherited if kept == name]
        self._inherited = [pair for pair in self._inherited if pair[0] != name]
        for sock in stale:
            sock.close()
        if stale and self._keeper is not None:
            self._keeper.remove(name)

    def _new(self, address: Address, key: Key) -> socket.socket:
        if _is_managed(address):
            raise OSError(errno.ENOENT, f"the service manager passed no socket named {address.name!r}")
        self._discard(_name(key))  # its file is gone, so nobody can reach it
        held = [sock for other, sock in self._held.items() if other not in self._managed and _overlap(address, sock)]
        left = [sock for name, sock in self._inherited if name.startswith(_OURS) and _overlap(address, sock)]
        sock = _bound(address, beside=[*held, *left], listening=not held)
        if held:
            self._beside[key] = address
        if self._keeper is not None:
            self._keeper.store(_name(key), sock)
        return sock

    def _adopt(self, address: Address, key: Key) -> socket.socket | None:
        wanted = address.name if _is_managed(address) else _name(key)
        for name, sock in self._inherited:
            if _fits(address, sock) and (name == wanted or _is_bound_to(address, sock)):
                self._inherited.remove((name, sock))
                if not name.startswith(_OURS):
                    self._managed[key] = name
                return sock
        return None


_OURS = "multid/"
_LONGEST_NAME = 255
_EVERYWHERE = ("0.0.0.0", "::")
_FAMILIES = {"INET": socket.AF_INET, "INET6": socket.AF_INET6, "UNIX": socket.AF_UNIX}


def _key(address: Address, service: str) -> Key:
    """Return what two stanzas must share to share a socket; a port that the kernel chooses is a service's own."""
    return (*address.key, service if address.port_is_chosen else "")


def _name(key: Key) -> str:
    """Return the name under which a socket is kept: printable, without a colon, at most 255 characters."""
    name = _OURS + "/".join(quote(str(part)) for part in key if part)
    if len(name) > _LONGEST_NAME:
        return _OURS + hashlib.sha256(name.encode()).hexdigest()
    return name


def _is_managed(address: Address) -> bool:
    return address.transport in {"systemd", "systemd-udp"}


def _fits(address: Address, sock: socket.socket) -> bool:
    """Whether a socket is of the type and family that an address needs."""
    if sock.type != (socket.SOCK_DGRAM if address.is_datagram else socket.SOCK_STREAM):
        return False
    if _is_managed(address):
        return not address.host or sock.family == _FAMILIES[address.host]
    if address.transport == "unix":
        return sock.family == socket.AF_UNIX and Path(address.path).exists()
    return sock.family == (socket.AF_INET6 if ":" in address.host else socket.AF_INET)


def _is_bound_to(address: Address, sock: socket.socket) -> bool:
    if address.transport == "unix":
        return bool(sock.getsockname() == address.path)
    if _is_managed(address) or not address.port:
        return False
    host, port = sock.getsockname()[:2]
    return port == address.port and ipaddress.ip_address(host) == ipaddress.ip_address(address.host)


def _overlap(address: Address, sock: socket.socket) -> bool:
    """Whether one is a port on every address of the host and the other the same port on one of them."""
    if not address.port or not _fits(address, sock):
        return False
    host, port = sock.getsockname()[:2]
    return port == address.port and (host in _EVERYWHERE) != (address.host in _EVERYWHERE)


def _share_port(socks: Iterable[socket.socket], *, shared: bool) -> None:
    for sock in socks:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)


def _bound(address: Address, *, beside: list[socket.socket], listening: bool) -> socket.socket:
    """Bind a new socket, where necessary beside others of ours; of connections it listens only if that is wanted."""
    if address.transport == "unix":
        return _bound_unix(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if address.is_datagram else socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if address.is_datagram:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if beside:
            _share_port([sock, *beside], shared=True)
        sock.bind(socket.getaddrinfo(address.host, address.port, family, flags=socket.AI_NUMERICHOST)[0][4])
        if listening and not address.is_datagram:
            sock.listen(address.backlog)
    except BaseException:
        _share_port(beside, shared=False)
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


def _file(path: str) -> File | None:
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove(path: str, file: File | None) -> None:
    """Remove the file of a socket if it is still this one, and if its folder lets us."""
    if file is not None and _file(path) == file:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _why(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        who = owner(address)
        return f"in use by {who}" if who else "in use by another program"
    if error.errno == errno.EACCES and 0 < address.port < 1024:
        return "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
    return (error.strerror or str(error)).lower() if error.errno != errno.ENOENT else str(error.strerror)
