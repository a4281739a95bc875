"""A program with a client's socket as its standard input and output, in a session of its own.

Its end is what a pidfd tells, so nothing depends on SIGCHLD. What it writes to standard error comes back in lines, each
and all together of bounded length. A program that must go gets SIGTERM, with all of its process group, and SIGKILL
after `GRACE`. We keep the socket too, to know at the end how much went over it; when the program ends it is closed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor

if TYPE_CHECKING:
    from multid.net.peer import Peer

GRACE = 5.0
LONGEST_LINE = 1024
MOST_LINES = 100

_TCP_INFO = struct.Struct("=B119xQQ")
_FIN_WAIT2, _TIME_WAIT, _CLOSE, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 5, 6, 7, 8, 9, 11


class Program:
    """A running program; among the connections of its service it stands where a transport would."""

    recorded = True

    def __init__(self, sock: socket.socket, peer: Peer, service: Any) -> None:
        self.socket = sock
        self.peer = peer
        self.service = service
        self.reactor = service.runtime.reactor
        self.lifetime: float | None = service.config.timeouts.lifetime
        self.began = self.reactor.seconds()
        self.started = time.time()
        self.received_bytes = self.sent_bytes = 0
        self.end = ""
        self.disconnected = False
        self.application = self
        self._must_go_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = 0
        self._unfinished = b""

    def start(self, command: Sequence[str], environment: Mapping[str, str], directory: Path | None) -> None:
        """Run a program; OSError if it cannot be."""
        self.socket.setblocking(True)
        self._process = subprocess.Popen(  # noqa: S603 (what is run is what the operator's file says)
            command,
            stdin=self.socket.fileno(),
            stdout=self.socket.fileno(),
            stderr=subprocess.PIPE,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
        assert self._process.stderr is not None  # noqa: S101 (it was asked for)
        os.set_blocking(self._process.stderr.fileno(), False)
        self._errors = _Reader(self.reactor, self._process.stderr.fileno(), self._said)
        self._ended = _Reader(self.reactor, os.pidfd_open(self._process.pid), self._exited)
        self._errors.startReading()
        self._ended.startReading()

    def check(self, now: float) -> None:
        """End the program if its time is up; called about once a second."""
        if self._must_go_at is not None:
            if now - self._must_go_at >= GRACE:
                self._kill(signal.SIGKILL)
        elif self.lifetime is not None and now - self.began >= self.lifetime:
            self.end = "lifetime, "
            self._must_go_at = now
            self._kill(signal.SIGTERM)

    def drain(self) -> None:
        """Let the program finish."""
        self.end = ""

    def abort(self, reason: str) -> None:
        """Kill the program at once."""
        self.end = f"{reason}, "
        self._kill(signal.SIGKILL)

    def _kill(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _said(self) -> None:
        """Take what the program wrote to standard error; at the end of that, stop listening."""
        try:
            data = os.read(self._errors.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._errors.stopReading()
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if self._unfinished and (not data or len(self._unfinished) > LONGEST_LINE):
            lines.append(self._unfinished)
            self._unfinished = b""
        for line in lines[: MOST_LINES - self._lines]:
            self.service.said(self.peer, line[:LONGEST_LINE])
        self._lines += len(lines)

    def _exited(self) -> None:
        process = self._process
        if process is None or process.poll() is None:
            return
        self._said()
        self._ended.stopReading()
        self._errors.stopReading()
        os.close(self._ended.fileno())
        if process.stderr is not None:
            process.stderr.close()
        self.end += _status(process.returncode)
        self.received_bytes, self.sent_bytes = octets(self.socket)
        self.socket.close()
        self.disconnected = True
        self.service.disconnected(self)


class _Reader(FileDescriptor):
    """Calls when there is something to read."""

    def __init__(self, reactor: Any, descriptor: int, readable: Callable[[], None]) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor
        self._readable = readable

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self._descriptor

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return "program"

    def doRead(self) -> None:
        """IReadDescriptor API."""
        self._readable()

    def connectionLost(self, reason: Any) -> None:
        """IReadWriteDescriptor API: the other end of a pipe is closed, and there may still be something in it."""
        self._readable()


def octets(sock: socket.socket) -> tuple[int, int]:
    """Return how many octets a TCP connection has received and had acknowledged; 0 of another socket."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        state, acknowledged, received = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return 0, 0
    # The kernel counts a FIN as an octet.
    received -= state in {_TIME_WAIT, _CLOSE, _CLOSE_WAIT, _LAST_ACK, _CLOSING}
    acknowledged -= state in {_FIN_WAIT2, _TIME_WAIT, _CLOSE}
    return max(received, 0), max(acknowledged, 0)


def _status(returncode: int) -> str:
    if returncode >= 0:
        return f"exit {returncode}"
    return f"killed by {signal.Signals(-returncode).name}"
