"""The connections of a service that are read, in an epoll set of their own inside the reactor's.

The reactor sees one descriptor that is readable while any of them is, and calls it once a turn; it reads each of those
that are ready once. What the reactor does around every call of a descriptor costs as much as a small read and its
answer, and is so paid once for all. Only reading is done here: a write that must wait goes through the reactor. A
connection ends as the reactor would end it, and an exception of a protocol is logged and ends its own only.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from twisted.internet import main
from twisted.internet.abstract import FileDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from multid.net.transport import StreamTransport

_A_TURN = 256
"""Connections read before the reactor's other descriptors and timers have their turn."""


class Readers(FileDescriptor):
    """The transports of a service that want to read; see the module."""

    log = Logger()

    def __init__(self, name: str, reactor: Any) -> None:
        FileDescriptor.__init__(self, reactor)
        self._name = name
        self._epoll = select.epoll()
        self._transports: dict[int, StreamTransport] = {}

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return self._name

    def close(self) -> None:
        """Give the descriptor back; nothing is read any more."""
        self.stopReading()
        self._epoll.close()

    def add(self, transport: StreamTransport) -> None:
        """Call the transport's `doRead` whenever there is something to read."""
        fd = transport.fileno()
        if fd not in self._transports:
            self._epoll.register(fd, select.EPOLLIN)
            self._transports[fd] = transport

    def remove(self, transport: StreamTransport) -> None:
        """Do so no more; the transport's socket is still open."""
        fd = transport.fileno()
        if self._transports.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def read_all(self) -> None:
        """Read each that is ready once, however many there are."""
        self._read(max(len(self._transports), 1))

    def doRead(self) -> None:
        """IReadDescriptor API."""
        self._read(_A_TURN)

    def _read(self, most: int) -> None:
        transports = self._transports
        for fd, _event in self._epoll.poll(0, most):
            transport = transports.get(fd)  # None: another that was ready ended or paused it
            if transport is None:
                continue
            try:
                why = transport.doRead()
            except Exception as error:  # a fault of ours must end one connection, not all
                self.log.failure("{service}: a connection failed", service=self._name)
                why = error
            if why is not None:
                self._end(transport, why)

    def connectionLost(self, reason: Failure) -> None:
        """IReadWriteDescriptor API: the reactor shuts down."""
        for transport in list(self._transports.values()):
            transport.connectionLost(reason)

    def _end(self, transport: StreamTransport, why: Exception) -> None:
        transport.stopReading()
        if why is main.CONNECTION_DONE:
            transport.readConnectionLost(Failure(why))
        else:
            transport.stopWriting()
            transport.connectionLost(Failure(why))
