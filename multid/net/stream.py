"""Accepting connections on one address of a service."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from twisted.internet.abstract import FileDescriptor
from twisted.logger import Logger

from multid.net.peer import Peer, unmapped
from multid.net.seldom import Seldom

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.net.streams import StreamSide

_ACCEPTS_A_TURN = 64
_PAUSE = 1.0
"""Seconds without accepting after the kernel refused us a descriptor."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_INHERITED = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
)
"""Options that an accepted connection has from the listening socket: a peer that has vanished is found in 2 minutes."""


class StreamListener(FileDescriptor):
    """Takes the connections that arrive at a listening socket, and hands each to the service with its peer.

    At the budget of descriptors it stops reading, so that clients wait in the kernel's queue and nothing spins,
    and goes on as soon as a connection ends.
    """

    log = Logger()

    def __init__(self, address: Address, sock: socket.socket, service: StreamSide) -> None:
        FileDescriptor.__init__(self, service.runtime.reactor)
        self.address = address
        self.socket = sock
        self.service = service
        self._open = False
        self._refused = Seldom()
        if sock.family != socket.AF_UNIX:
            for level, option, value in _INHERITED:
                sock.setsockopt(level, option, value)

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return self.service.name

    def start(self) -> None:
        """Begin to accept."""
        self._open = True
        self.startReading()

    def stop(self) -> None:
        """Accept no more; the socket stays bound, it is the store's."""
        self._open = False
        self.stopReading()

    def finish(self) -> None:
        """Accept what waits, and then no more: the socket is about to be closed."""
        self._accept(self.address.backlog + 1)
        self.stop()

    def doRead(self) -> None:
        """IReadDescriptor API."""
        self._accept(_ACCEPTS_A_TURN)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            if not self.service.runtime.descriptors.take():
                self._pause_for_budget()
                return
            try:
                sock, name = self.socket.accept()
            except OSError as error:
                self.service.runtime.descriptors.give_back()
                if error.errno in _EXHAUSTED:
                    self._pause_for_kernel(error)
                if error.errno not in {errno.ECONNABORTED, errno.EINTR, errno.EPERM}:
                    return
            else:
                self.service.accepted(sock, _peer(sock, name), self.address)

    def connectionLost(self, reason: object) -> None:
        """IReadWriteDescriptor API: the reactor shuts down; the socket is the store's."""
        self.stop()

    def _pause_for_budget(self) -> None:
        self.stopReading()
        self.service.exhausted()
        self.service.runtime.descriptors.wait(self._resume)

    def _pause_for_kernel(self, error: OSError) -> None:
        self.stopReading()
        reactor = self.service.runtime.reactor
        if self._refused.note(reactor.seconds()):
            self.log.warn("{service}: cannot accept: {why}", service=self.service.name, why=error.strerror)
        reactor.callLater(_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._open:
            self.startReading()


def _peer(sock: socket.socket, name: tuple[str, int] | str) -> Peer:
    if isinstance(name, tuple):
        return Peer(unmapped(name[0]), name[1])
    pid, _uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer("unix", pid)
