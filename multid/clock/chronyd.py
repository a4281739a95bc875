"""Asking chronyd on this host, every `EVERY` seconds; where there is none, nothing is said about it."""

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from multid.clock.tracking import PORT, Tracking, encode_request, parse_reply

EVERY = 16.0
VALID = 4 * EVERY
"""Seconds after which an answer that was not renewed is no longer believed."""


class Chronyd(DatagramProtocol):
    """Keeps chronyd's last word, as long as it can be believed."""

    noisy = False
    transport: Any

    def __init__(self, reactor: Any, port: int = PORT) -> None:
        self._reactor = reactor
        self._port = port
        self._sequence = 0
        self._tracking: Tracking | None = None
        self._heard = 0.0
        self._call: Any = None

    @property
    def tracking(self) -> Tracking | None:
        """Chronyd's report, None where there is none."""
        is_valid = self._tracking is not None and self._reactor.seconds() - self._heard < VALID
        return self._tracking if is_valid else None

    def start(self) -> None:
        """Begin to ask; OSError if there is no socket to be had."""
        self._reactor.listenUDP(0, self, interface="127.0.0.1")

    def stop(self) -> Any:
        """Ask no more; a Deferred fires when the socket is closed."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        return self.transport.stopListening() if self.transport is not None else None

    def startProtocol(self) -> None:
        """AbstractDatagramProtocol API."""
        self._ask()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """AbstractDatagramProtocol API."""
        tracking = parse_reply(datagram, self._sequence)
        if tracking is not None and addr == ("127.0.0.1", self._port):
            self._tracking = tracking
            self._heard = self._reactor.seconds()

    def _ask(self) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        try:
            self.transport.write(encode_request(self._sequence), ("127.0.0.1", self._port))
        except OSError:
            self._tracking = None
        self._call = self._reactor.callLater(EVERY, self._ask)
