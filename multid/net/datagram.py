"""Receiving and answering datagrams on one address of a service.

Datagrams of 0 to 65507 octets arrive whole, at most `_DATAGRAMS_A_TURN` in a turn of the reactor, and no more after
`_OCTETS_A_TURN`. An answer leaves from the address that was asked. Whether there is one is the guard's decision. An
error of the network is counted and summed up by the service's report, and so is a fault of the kind: neither stops the
listener or writes a line per datagram.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted.internet.abstract import FileDescriptor

from multid.net import ancillary, guard
from multid.net.peer import Peer, unmapped

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.net.datagrams import DatagramSide

_DATAGRAMS_A_TURN = 64
_OCTETS_A_TURN = 256 * 1024
_LARGEST = 65536


@lru_cache(maxsize=4096)
def _peer(name: tuple[str, int]) -> Peer:
    """Return who has a socket's name; who asks once mostly asks again."""
    return Peer(unmapped(name[0]), name[1])


@dataclass(frozen=True)
class Question:
    """A datagram, with all that is known of it: also when the kernel received it (ns since 1970), if that was asked."""

    listener: DatagramListener
    data: bytes
    peer: Peer
    arrival: int | None
    name: tuple[str, int]
    origin: ancillary.Ancillary | None

    def answer(self, reply: bytes) -> None:
        """Send a reply later; whether it is not too large is for the service to know."""
        self.listener.send(reply, self.name, self.origin)


class DatagramListener(FileDescriptor):
    """Reads a socket's datagrams and sends what the service answers."""

    def __init__(self, address: Address, sock: socket.socket, service: DatagramSide) -> None:
        FileDescriptor.__init__(self, service.runtime.reactor)
        self.address = address
        self.socket = sock
        self.service = service
        self._origins = ancillary.Origins()
        self._ancillary_size = ancillary.ask_for(sock, timestamps=service.asks_for_more)

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return self.service.name

    def start(self) -> None:
        """Begin to receive."""
        self.startReading()

    def stop(self) -> None:
        """Receive no more; the socket stays bound, it is the store's."""
        self.stopReading()

    def finish(self) -> None:
        """Receive what waits, as much as one turn may, and then no more: the socket is about to be closed."""
        self.doRead()
        self.stop()

    def doRead(self) -> None:
        """IReadDescriptor API."""
        counters, sock = self.service.counters, self.socket
        told: ancillary.Ancillary = []
        left = _OCTETS_A_TURN
        now = self.service.runtime.reactor.seconds()
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                if self._ancillary_size:
                    data, told, _flags, name = sock.recvmsg(_LARGEST, self._ancillary_size)
                else:
                    data, name = sock.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                self.service.guard.count("receive")
                return
            counters.datagrams += 1
            counters.received_bytes += len(data)
            self._received(data, told, name, now)
            left -= len(data)
            if left <= 0:
                return

    def connectionLost(self, reason: object) -> None:
        """IReadWriteDescriptor API: the reactor shuts down; the socket is the store's."""
        self.stop()

    def _received(self, data: bytes, told: ancillary.Ancillary, name: tuple[str, int], now: float) -> None:
        service = self.service
        origin = self._origins.of(told) if told else told
        if origin is None and service.answers:
            service.guard.count(guard.DESTINATION)
            return
        peer = _peer(name)
        if service.followers:
            service.tell("datagram", peer, received_bytes=len(data))
        reason = service.guard.refuses(peer.host, peer.port, data, now)
        if reason is not None and not (reason == guard.RATE and service.tells_rate and service.guard.tells(now)):
            return
        try:
            if reason is not None:
                reply = service.beyond_rate(data, peer)
            elif service.asks_for_more:
                reply = service.asked(Question(self, data, peer, ancillary.arrival(told), name, origin))
            else:
                reply = service.received(data, peer)
        except Exception:  # a fault of ours must not end the service
            service.failed()
            return
        if reply is None:
            return
        if len(reply) <= len(data) or service.guard.refuses_reply(peer.host, len(data), len(reply)) is None:
            self.send(reply, name, origin)

    def send(self, reply: bytes, name: tuple[str, int], origin: ancillary.Ancillary | None) -> None:
        """Send a reply from the address that was asked."""
        try:
            if origin:
                self.socket.sendmsg((reply,), origin, 0, name)
            else:
                self.socket.sendto(reply, name)
        except OSError:
            self.service.guard.count("send")
        else:
            self.service.counters.sent_bytes += len(reply)
