"""The next hop over UDP: each line a datagram (RFC 5426).

What the network loses is lost; what cannot be sent, also while the name is not known, is dropped and counted.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.lines.forward import ForwardOptions
from multid.lines.frames import messages
from multid.lines.logfiles import InThread
from multid.lines.record import Batch

RESOLVE_AGAIN = 60.0
"""Seconds between looks whether the next hop's name means another address."""


class DatagramForwarder:
    """An `Output` to a next hop over UDP."""

    log = Logger()

    def __init__(self, service: str, options: ForwardOptions, reactor: Any, in_thread: InThread) -> None:
        self._service = service
        self._options = options
        self._reactor = reactor
        self._in_thread = in_thread
        self._found: tuple[socket.AddressFamily, Any] | None = None
        self._socket: socket.socket | None = None
        self._problem = ""
        self._timer: Any = None
        self._resolving: Deferred[None] | None = None

    def open(self) -> None:
        """There is nothing to open before the name is known."""

    def start(self) -> None:
        """Find the address of a name, now and again."""
        with suppress(ValueError):
            ip_address(self._options.hop.host)
            self._resolve()  # which takes no time
            self._resolved(None)
            return
        self._timer = self._reactor.callLater(RESOLVE_AGAIN, self.start)
        self._resolving = self._in_thread(self._resolve)
        self._resolving.addCallbacks(self._resolved, self._not_resolved)

    def _resolve(self) -> None:
        hop = self._options.hop
        family, _, _, _, address = socket.getaddrinfo(hop.host, hop.port, type=socket.SOCK_DGRAM)[0]
        self._found = family, address

    def _resolved(self, _result: None) -> None:
        self._resolving = None
        self._problem = ""
        if self._found is None:
            return
        family, address = self._found
        if self._socket is not None and self._socket.family == family:
            self._socket.connect(address)
            return
        if self._socket is not None:
            self._socket.close()
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.connect(address)

    def _not_resolved(self, failure: Failure) -> None:
        self._resolving = None
        why = failure.getErrorMessage()
        if why != self._problem:
            self.log.warn("{service}: {hop}: {why}", service=self._service, hop=str(self._options.hop), why=why)
        self._problem = why

    def write(self, batch: Batch) -> None:
        """Send each line."""
        sent = zip(batch.lines, messages(batch, self._options.format), strict=True)
        unsent = [line for line, message in sent if not self._send(message)]
        octets = sum(len(line) + 1 for line in unsent)  # one for the line end
        batch.settle("unsent" if unsent else "", len(unsent), batch.octets if len(unsent) == batch.count else octets)

    def _send(self, message: bytes) -> bool:
        if self._socket is None:
            return False
        for _ in range(2):
            try:
                self._socket.send(message)
            except ConnectionRefusedError:  # the answer to an earlier datagram
                continue
            except OSError as error:
                self._problem = errno.errorcode.get(error.errno or 0, str(error))
                return False
            return True
        return False

    @property
    def is_idle(self) -> bool:
        """Nothing ever waits."""
        return True

    def go_on(self) -> None:
        """Nothing ever waits."""

    def reopen(self) -> None:
        """There is nothing that anybody could have moved."""

    def rotate(self) -> list[str]:
        """There is nothing to put away."""
        return []

    async def close(self) -> None:
        """Nothing waits."""
        if self._timer is not None:
            self._timer.cancel()
        if self._resolving is not None:
            await self._resolving
        if self._socket is not None:
            self._socket.close()

    def status(self) -> dict[str, Any]:
        """Return where to, and what is wrong."""
        return {"forward": str(self._options.hop), "problem": self._problem, "waiting_octets": 0}
