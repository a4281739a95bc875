"""A next hop for tests: an SMTP server on loopback that keeps what it is sent, and misbehaves as it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from multid.mail.route import Hop, TlsMode
from tests.loop import Loop

EXTENSIONS = ("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")

CLOSE = b"close"
SILENCE = b"silence"

Answer = bytes | Callable[[str], bytes | None] | None


@dataclass
class Delivered:
    """A mail as the hop got it: its commands, and the content before dots were taken away."""

    commands: list[str]
    wire: bytes

    @property
    def content(self) -> bytes:
        return (b"\r\n" + self.wire).replace(b"\r\n..", b"\r\n.")[2:]

    @property
    def recipients(self) -> list[str]:
        return [c[9 : c.index(">")] for c in self.commands if c.startswith("RCPT TO:<")]


@dataclass
class Server:
    """What the hop does: `answers` by the beginning of a command; GREETING, CONTENT and END are answered like commands.

    An answer is octets, or a function of the command; None is the usual one. CLOSE closes, SILENCE says nothing.
    """

    loop: Loop
    extensions: tuple[str, ...] = EXTENSIONS
    answers: dict[str, Answer] = field(default_factory=dict)
    mails: list[Delivered] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: list["HopProtocol"] = field(default_factory=list)
    tls: Any = None
    implicit: bool = False
    reads: bool = True

    def __post_init__(self) -> None:
        factory = Factory.forProtocol(lambda: HopProtocol(self))
        factory.noisy = False
        self._factory = factory
        self.port = self.loop.listenTCP(0, factory, interface="127.0.0.1")

    @property
    def number(self) -> int:
        return int(self.port.getHost().port)

    def hop(self, tls: TlsMode = "none", host: str = "127.0.0.1") -> Hop:
        return Hop(host, self.number, tls)

    @property
    def total(self) -> int:
        return len(self.connections)

    def down(self) -> None:
        """Refuse connections, and end those there are."""
        self._number = self.number
        self.loop.result(self.port.stopListening())
        for connection in self.connections:
            connection.transport.abortConnection()
        self.loop.turn()

    def up(self) -> None:
        self.port = self.loop.listenTCP(self._number, self._factory, interface="127.0.0.1")


class HopProtocol(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.mail: list[str] = []
        self.content: bytearray | None = None
        self.challenged = False
        self.is_secure = False

    def connectionMade(self) -> None:
        self.server.connections.append(self)
        if self.server.implicit:
            self.transport.startTLS(self.server.tls)
        if not self.server.reads:
            self.transport.pauseProducing()
        self.answer("GREETING", b"220 hop.test ESMTP\r\n")

    def answer(self, command: str, usual: bytes) -> bool:
        """Answer; return whether the answer was positive."""
        key = next((k for k in self.server.answers if command.upper().startswith(k)), None)
        special = self.server.answers[key] if key is not None else None
        reply = special(command) if callable(special) else special
        reply = usual if reply is None else reply
        if reply == CLOSE:
            self.transport.abortConnection()
            return False
        if reply != SILENCE:
            self.transport.write(reply)
        return reply[:1] in b"23"

    def dataReceived(self, data: bytes) -> None:
        if self.content is not None:
            self.take_content(data)
            return
        self.buffer += data
        while b"\r\n" in self.buffer and self.content is None:
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            self.command(line.decode())

    def command(self, line: str) -> None:
        self.server.commands.append(line)
        verb = line.split(" ", maxsplit=1)[0].upper()
        if self.challenged:
            self.challenged = False
            self.answer(f"RESPONSE {line}", b"235 2.7.0 Welcome\r\n")
        elif verb in {"EHLO", "HELO"}:
            self.mail = []
            lines = ["hop.test", *self.server.extensions] if verb == "EHLO" else ["hop.test"]
            ehlo = [f"250{'-' if n < len(lines) - 1 else ' '}{text}\r\n" for n, text in enumerate(lines)]
            self.answer(line, "".join(ehlo).encode())
        elif verb == "STARTTLS":
            if self.answer(line, b"220 2.0.0 Go\r\n"):
                self.transport.startTLS(self.server.tls)
                self.is_secure = True
        elif verb == "DATA":
            if self.answer(line, b"354 Go on\r\n" if len(self.mail) > 1 else b"503 5.5.1 No recipients\r\n"):
                self.content, rest, self.buffer = bytearray(), self.buffer, b""
                self.take_content(rest)
        elif verb == "QUIT":
            self.answer(line, b"221 2.0.0 Bye\r\n")
            self.transport.loseConnection()
        elif verb == "AUTH":
            self.answer(line, b"235 2.7.0 Welcome\r\n")
        elif self.answer(
            line, b"503 5.5.1 MAIL first\r\n" if verb == "RCPT" and not self.mail else b"250 2.0.0 Ok\r\n"
        ):
            self.mail = [line] if verb == "MAIL" else [] if verb == "RSET" else [*self.mail, line]

    def take_content(self, data: bytes) -> None:
        assert self.content is not None
        if data and not self.content:
            self.answer("CONTENT", SILENCE)
        self.content += data
        end = (b"\r\n" + self.content).find(b"\r\n.\r\n")
        if end < 0:
            return
        wire, rest = bytes(self.content[:end]), bytes(self.content[end + 3 :])
        self.content = None
        self.server.commands.append(".")
        if self.answer("END", b"250 2.0.0 Ok\r\n"):
            self.server.mails.append(Delivered(self.mail, wire))
        self.mail = []
        self.dataReceived(rest)
