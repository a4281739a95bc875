"""Receiving and answering datagrams on one address of a service."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from twisted.internet.abstract import FileDescriptor

from multid.net.peer import Peer

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.net.service import NetworkService

_DATAGRAMS_A_TURN = 64
_LARGEST = 65536


class DatagramListener(FileDescriptor):
    """Reads datagrams of any size, a bounded number a turn of the reactor, and sends what the service answers.

    An error of a send is counted, never raised: a datagram may be lost on any hop, and ours is the first.
    """

    def __init__(self, address: Address, sock: socket.socket, service: NetworkService) -> None:
        FileDescriptor.__init__(self, service.runtime.reactor)
        self.address = address
        self.socket = sock
        self.service = service

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

    def doRead(self) -> None:
        """IReadDescriptor API."""
        counters = self.service.counters
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                data, name = self.socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                counters.errors += 1
                return
            counters.datagrams += 1
            counters.received_bytes += len(data)
            reply = self.service.datagram(data, Peer(name[0], name[1]))
            if reply is not None:
                self._send(reply, name)

    def _send(self, data: bytes, name: tuple[str, int]) -> None:
        try:
            self.socket.sendto(data, name)
        except OSError:
            self.service.counters.dropped["send"] += 1
        else:
            self.service.counters.sent_bytes += len(data)

    def connectionLost(self, reason: object) -> None:
        """IReadWriteDescriptor API: the reactor shuts down; the socket is the store's."""
        self.stop()
