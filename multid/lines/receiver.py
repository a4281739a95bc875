"""Twisted's LineReceiver by its interface, on the linear splitter: for the logger, and for everybody else's protocols.

A subclass sets `delimiter` and `MAX_LENGTH` and has `lineReceived`, as it would with Twisted's; `setRawMode`,
`setLineMode`, `sendLine`, `clearLineBuffer`, `pauseProducing` and `lineLengthExceeded` mean the same. What differs:

- lines are handed over for a whole chunk at once to `linesReceived`, which a subclass may take instead of single lines;
- the time a chunk takes grows with its length and not with the square of the lines in it;
- a line longer than `MAX_LENGTH` is given to `lineLengthExceeded` cut to that length, and the connection goes on with
  the next line, unless that method ends it;
- what arrived before the end is delivered, also the lines held back by a pause, and a last line without its end.
"""

from collections import deque
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from multid.lines.splitter import Lines, Splitter, Unterminated


class LineReceiver(Protocol):
    """A protocol that receives lines; see the module."""

    delimiter = b"\r\n"
    MAX_LENGTH = 16384
    unterminated: Unterminated = "keep"

    transport: Any
    line_mode = True
    paused = False
    _splitter: Splitter | None = None
    _ended = False

    def __init__(self) -> None:
        self._undelivered: deque[bytes] = deque()
        self._raw = b""

    # What a subclass says

    def splitter(self) -> Splitter:
        """Return what parts the stream of this connection."""
        return Splitter(self.delimiter, max_line=self.MAX_LENGTH, oversize="truncate", unterminated=self.unterminated)

    def linesReceived(self, lines: Lines) -> None:
        """Take lines that arrived together; by default each goes to `lineReceived`."""
        if lines.mark == "truncated":
            self._deliver()
            self.lineLengthExceeded(next(iter(lines)))
            return
        self._undelivered.extend(lines)
        self._deliver()

    def lineReceived(self, line: bytes) -> None:
        """Take one line, without its end."""
        raise NotImplementedError

    def rawDataReceived(self, data: bytes) -> None:
        """Take octets while in raw mode."""
        raise NotImplementedError

    def lineLengthExceeded(self, line: bytes) -> None:
        """Take the beginning of a line that is too long; by default nothing is done about it."""

    # What a subclass may call

    @property
    def held(self) -> int:
        """Octets of a line that has not ended."""
        return self._splitter.pending if self._splitter is not None else 0

    def sendLine(self, line: bytes) -> None:
        """Send a line and its end."""
        self.transport.writeSequence((line, self.delimiter))

    def setRawMode(self) -> None:
        """Hand over octets as they arrive, beginning with those behind the line that is being delivered."""
        self.line_mode = False

    def setLineMode(self, extra: bytes = b"") -> None:
        """Hand over lines again, beginning with `extra`."""
        self.line_mode = True
        if extra:
            self.dataReceived(extra)

    def clearLineBuffer(self) -> bytes:
        """Forget what was received and is not yet delivered, and return it."""
        undelivered = b"".join([line + self.delimiter for line in self._undelivered])
        self._undelivered.clear()
        held = self._splitter.release() if self._splitter is not None else b""
        raw, self._raw = self._raw, b""
        return raw + undelivered + held

    def pauseProducing(self) -> None:
        """IPushProducer API: deliver nothing until resumed."""
        self.paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """IPushProducer API: deliver what was held back, and go on."""
        self.paused = False
        self.transport.resumeProducing()
        self._deliver()

    def stopProducing(self) -> None:
        """IPushProducer API."""
        self.paused = True
        self.transport.stopProducing()

    # Protocol API

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if not self.line_mode:
            self._raw += data
            self._deliver()
            return
        if self._splitter is None:
            self._splitter = self.splitter()
        for lines in self._splitter.feed(data):
            self.linesReceived(lines)
        self._deliver()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self.end_of_stream()

    def end_of_stream(self) -> None:
        """Deliver what is left; there will be no more."""
        if self._ended:
            return
        self._ended = True
        self.paused = False
        if self._splitter is not None and self.line_mode:
            for lines in self._splitter.end():
                self.linesReceived(lines)
        self._deliver()

    def _deliver(self) -> None:
        while self._undelivered and self.line_mode and self._may_deliver():
            self.lineReceived(self._undelivered.popleft())
        if not self.line_mode and self._may_deliver():
            data = self.clearLineBuffer()
            if data:
                self.rawDataReceived(data)

    def _may_deliver(self) -> bool:
        return not self.paused and not getattr(self.transport, "disconnecting", False)
