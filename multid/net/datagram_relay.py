"""Datagrams passed on to a target: a session for each client, whose socket the target's replies come back to.

A session ends when nothing has passed it for a while. It never sends a stranger more than it got of him: each request
earns 1.2 times its octets, headers counted, and each reply costs its own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.threads import deferToThreadPool

from multid.net.guard import SIZE, largest_reply

if TYPE_CHECKING:
    from multid.config.target import Target
    from multid.net.datagram import Question

_DATAGRAMS_A_TURN = 64
_WAITING = 16
"""How many datagrams wait while the target's name is resolved."""


class Session(FileDescriptor):
    """One client's way to the target; its service is told when it has ended, or could not be reached."""

    reactor: Any

    def __init__(self, service: Any, target: Target, question: Question) -> None:
        FileDescriptor.__init__(self, service.runtime.reactor)
        self.service = service
        self.target = target
        self.question = question
        self.last_used = service.runtime.reactor.seconds()
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque(maxlen=_WAITING)
        self._credit = 0
        self._is_closed = False

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return f"{self.service.name},{self.question.peer}"

    def open(self) -> None:
        """Connect a socket to the target, now or when its name is resolved."""
        try:
            ipaddress.ip_address(self.target.host.partition("%")[0])
        except ValueError:
            found = deferToThreadPool(
                self.reactor,
                self.reactor.getThreadPool(),
                socket.getaddrinfo,
                *self._wanted(),
            )
            found.addCallbacks(self._connect, self._unresolved)
        else:
            self._connect(socket.getaddrinfo(*self._wanted(), flags=socket.AI_NUMERICHOST))

    def pass_on(self, question: Question) -> None:
        """Send a client's datagram to the target."""
        self.question = question
        self.last_used = self.service.runtime.reactor.seconds()
        self._credit += largest_reply(len(question.data), ":" in question.peer.host) + self._headers
        if self._socket is None:
            self._waiting.append(question.data)
        else:
            self._send(question.data)

    def doRead(self) -> None:
        """IReadDescriptor API."""
        for _ in range(_DATAGRAMS_A_TURN):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                self.service.guard.count("target")
                return
            self._answer(data)

    def connectionLost(self, reason: Any) -> None:
        """IReadWriteDescriptor API: the target's host has refused what was sent."""
        self.service.guard.count("target")
        self.close()

    def close(self) -> None:
        """End the session."""
        self._is_closed = True
        if self._socket is not None:
            self.stopReading()
            self._socket.close()
            self._socket = None
        self.service.session_ended(self)

    @property
    def _headers(self) -> int:
        return 48 if ":" in self.question.peer.host else 28

    def _wanted(self) -> tuple[str, int, int, int]:
        return self.target.host, self.target.port, socket.AF_UNSPEC, socket.SOCK_DGRAM

    def _connect(self, addresses: list[Any]) -> None:
        if self._is_closed:
            return
        family, kind, protocol, _, address = addresses[0]
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            self.service.unreachable(self.target, error)
            self.close()
            return
        self._socket = sock
        self.startReading()
        while self._waiting:
            self._send(self._waiting.popleft())

    def _unresolved(self, failure: Any) -> None:
        self.service.unreachable(self.target, failure.value)
        if not self._is_closed:
            self.close()

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(data)
        except OSError:
            self.service.guard.count("target")

    def _answer(self, data: bytes) -> None:
        self.last_used = self.service.runtime.reactor.seconds()
        cost = len(data) + self._headers
        guard, host = self.service.guard, self.question.peer.host
        if not guard.any_size(host):
            if cost > self._credit:
                guard.count(SIZE)
                return
            self._credit -= cost
        self.question.answer(data)
