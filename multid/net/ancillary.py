"""What the kernel tells beside a datagram: the address it was sent to, and when it came.

A reply leaves from the address that was asked: IP_PKTINFO and IPV6_PKTINFO of the request, turned round. The interface
is left to the routes, except for a link-local address, which means nothing without one.
"""

import ipaddress
import socket
import struct

Ancillary = list[tuple[int, int, bytes]]

IP_PKTINFO = 8
SO_TIMESTAMPNS = 35
SIZE = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(16)

_REMEMBERED = 256
_LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")


def ask_for(sock: socket.socket, *, timestamps: bool) -> int:
    """Make the kernel tell what is needed, and return the size of the buffer for it, 0 if that is nothing.

    A socket bound to a loopback address can be asked at, and answer from, no other.
    """
    if timestamps:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    host = ipaddress.ip_address(sock.getsockname()[0])
    if host.is_loopback:
        return SIZE if timestamps else 0
    if host.version == 4:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return SIZE


def arrival(ancillary: Ancillary) -> int | None:
    """Return when the kernel received the datagram, in nanoseconds since 1970; None where it does not say."""
    for level, kind, packed in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("=qq", packed)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None


class Origins:
    """Turns what came with a request into what goes with its reply, and remembers it: a host has few addresses."""

    def __init__(self) -> None:
        self._known: dict[bytes, Ancillary | None] = {}

    def of(self, ancillary: Ancillary) -> Ancillary | None:
        """Return the ancillary data of the reply; None where the request was sent to many hosts (or to nobody)."""
        for level, kind, packed in ancillary:
            turn = _TURN.get((level, kind))
            if turn is not None:
                if packed not in self._known:
                    if len(self._known) >= _REMEMBERED:
                        self._known.clear()
                    self._known[packed] = turn(packed)
                return self._known[packed]
        return []


def _turned_4(packed: bytes) -> Ancillary | None:
    _interface, local, destination = struct.unpack("=i4s4s", packed)
    if local != destination:
        return None
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 0, local, bytes(4)))]


def _turned_6(packed: bytes) -> Ancillary | None:
    local, interface = struct.unpack("=16sI", packed)
    address = ipaddress.IPv6Address(local)
    if address.is_multicast:
        return None
    if address not in _LINK_LOCAL:
        interface = 0
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", local, interface))]


_TURN = {
    (socket.IPPROTO_IP, IP_PKTINFO): _turned_4,
    (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO): _turned_6,
}
