"""Asking chronyd on this host, every `EVERY` seconds; where there is none, nothing is said about it."""

import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor

from multid.clock.tracking import PORT, Tracking, encode_request, parse_reply

EVERY = 16.0
VALID = 4 * EVERY
"""Seconds after which an answer that was not renewed is no longer believed."""

_HOST = "127.0.0.1"
_LARGEST = 1024


class Chronyd(FileDescriptor):
    """Keeps chronyd's last word, as long as it can be believed."""

    reactor: Any

    def __init__(self, reactor: Any, port: int = PORT) -> None:
        super().__init__(reactor)
        self._chronyd = (_HOST, port)
        self._sequence = 0
        self._tracking: Tracking | None = None
        self._heard = 0.0
        self._call: Any = None
        self._socket: Any = None

    @property
    def tracking(self) -> Tracking | None:
        """Chronyd's report, None where there is none."""
        is_valid = self._tracking is not None and self.reactor.seconds() - self._heard < VALID
        return self._tracking if is_valid else None

    @property
    def is_asking(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._socket is not None

    def start(self) -> None:
        """Begin to ask; OSError if there is no socket to be had."""
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind((_HOST, 0))
        except OSError:
            self.stop()
            raise
        self.startReading()
        self._ask()

    def stop(self) -> None:
        """Ask no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._socket is not None:
            self.stopReading()
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return -1 if self._socket is None else int(self._socket.fileno())

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return "chronyd"

    def doRead(self) -> None:
        """IReadDescriptor API."""
        try:
            reply, sender = self._socket.recvfrom(_LARGEST)
        except OSError:
            return
        tracking = parse_reply(reply, self._sequence)
        if tracking is not None and sender == self._chronyd:
            self._tracking = tracking
            self._heard = self.reactor.seconds()

    def connectionLost(self, reason: object) -> None:
        """IReadWriteDescriptor API: the reactor shuts down."""
        self.stop()

    def _ask(self) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._call = self.reactor.callLater(EVERY, self._ask)
        try:
            self._socket.sendto(encode_request(self._sequence), self._chronyd)
        except OSError:
            self._tracking = None
