"""Responder: a greeting, then one reply for each unit received, until the quit word.

A unit is whatever one read gives (`chunk`), a line, or a datagram. In `reply`, `{data}` is the unit as text,
`{peer}` the peer's address, `{ctime}` and `{time}` the time now; `{{` and `}}` stand for braces.
"""

import string
import time
from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from multid.config.model import ServiceConfig
from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService
from multid.service import ServiceKind

_FIELDS = {"data", "peer", "ctime", "time"}
_LONGEST_LINE = 65536


class ResponderConfig(ServiceConfig):
    """What is said, and to what."""

    greeting: str = Field(default="", description="said first, to every connection")
    reply: str = Field(default="{data}", description="said for each unit: {data} {peer} {ctime} {time}")
    quit: str | None = Field(default=None, description="the unit that ends the connection")
    unit: Literal["chunk", "line", "datagram"] = Field(
        default="line", description="what is answered: each chunk as read, each line, or each datagram"
    )
    charset: str = Field(default="utf-8", description="character set of both directions")

    @field_validator("reply")
    @classmethod
    def _known_fields(cls, value: str) -> str:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(value) if field is not None]
        except ValueError as error:
            raise ValueError(f"a reply's braces must match: {error}") from None
        for field in fields:
            if field not in _FIELDS:
                raise ValueError(f"a reply may hold {{data}}, {{peer}}, {{ctime}} and {{time}}, not {{{field}}}")
        return value

    @field_validator("charset")
    @classmethod
    def _known_charset(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"a character set such as utf-8, gb18030 or latin-1, not {value!r}") from None
        return value

    def answer(self, unit: bytes, peer: Peer) -> bytes:
        """Return the reply to a unit; octets outside the charset are replaced."""
        now = time.time()
        text = self.reply.format(
            data=unit.decode(self.charset, "replace"),
            peer=peer,
            ctime=time.ctime(now),
            time=datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds"),
        )
        return text.encode(self.charset, "replace")

    def quits(self, unit: bytes) -> bool:
        """Whether the unit is the quit word, line end or not."""
        return self.quit is not None and unit.strip() == self.quit.encode(self.charset)


class Responder(StreamProtocol):
    """One conversation; reads no faster than the peer reads."""

    def __init__(self, service: NetworkService, peer: Peer) -> None:
        super().__init__(service)
        self.peer = peer
        self._unfinished = b""

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.registerProducer(self.transport, streaming=True)
        if self.config.greeting:
            self.transport.write(self._encoded(self.config.greeting))

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self.config.unit != "line":
            self._unit(data)
            return
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            if self.transport.disconnecting:
                return
            self._unit(line.removesuffix(b"\r"))
        if len(self._unfinished) > _LONGEST_LINE:
            self.finish()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: a last line without an end is a line."""
        if self._unfinished and not self.transport.disconnecting:
            self._unit(self._unfinished)
        self.finish()

    def _unit(self, unit: bytes) -> None:
        if self.config.quits(unit):
            self.finish()
            return
        end = b"\n" if self.config.unit == "line" else b""
        self.transport.write(self.config.answer(unit, self.peer) + end)

    def _encoded(self, text: str) -> bytes:
        end = "\n" if self.config.unit == "line" else ""
        encoded: bytes = (text + end).encode(self.config.charset, "replace")
        return encoded


class ResponderService(NetworkService):
    """A responder over TCP and UDP."""

    def connected(self, peer: Peer) -> Responder:
        """NetworkService API."""
        return Responder(self, peer)

    def received(self, data: bytes, peer: Peer) -> bytes | None:
        """NetworkService API."""
        return None if self.config.quits(data) else self.config.answer(data, peer)


KIND = ServiceKind("responder", "a greeting, and a reply to each unit received", ResponderConfig, ResponderService)
