"""Responder: a greeting, then one reply for each unit received, until the quit word.

A unit is whatever one read gives (`chunk`; a character cut in two waits for its rest), a line, or a datagram. In
`reply`, `{data}` is the unit as text, `{peer}` the peer's address, `{ctime}` and `{time}` the time now; `{{` and `}}`
stand for braces. A line is answered by one that ends as it does. Octets that are no text of the charset are replaced.
"""

import codecs
import string
import time
from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from multid.config.model import ServiceConfig
from multid.config.text import Charset
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
    charset: Charset = Field(default="utf-8", description="character set of both directions")

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

    def answer(self, unit: str, peer: Peer, end: str = "") -> bytes:
        """Return the reply to a unit and the line end given."""
        now = time.time()
        text = self.reply.format(
            data=unit,
            peer=peer,
            ctime=time.ctime(now),
            time=datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds"),
        )
        return (text + end).encode(self.charset, "replace")

    def quits(self, unit: str) -> bool:
        """Whether the unit is the quit word, line end or not."""
        return self.quit is not None and unit.strip() == self.quit


class Responder(StreamProtocol):
    """One conversation; reads no faster than the peer reads."""

    def __init__(self, service: NetworkService, peer: Peer) -> None:
        super().__init__(service)
        self.peer = peer
        self._decoder = codecs.getincrementaldecoder(self.config.charset)("replace")
        self._by_line = self.config.unit == "line"
        self._unfinished = ""

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.registerProducer(self.transport, streaming=True)
        if self.config.greeting:
            end = "\n" if self._by_line else ""
            self.transport.write((self.config.greeting + end).encode(self.config.charset, "replace"))

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        text = self._decoder.decode(data)
        if self._by_line:
            *lines, self._unfinished = (self._unfinished + text).split("\n")
            self._answer(lines)
        elif text:
            self._answer([text])
        if len(self._unfinished) > _LONGEST_LINE:
            self.finish()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: a last line without an end is a line."""
        rest = self._unfinished + self._decoder.decode(b"", final=True)
        if rest:
            self._answer([rest])
        self.finish()

    def _answer(self, units: list[str]) -> None:
        last = next((number for number, unit in enumerate(units) if self.config.quits(unit)), None)
        replies = b"".join(map(self._reply, units[:last]))
        if replies:
            self.transport.write(replies)
        if last is not None:
            self.finish()

    def _reply(self, unit: str) -> bytes:
        line = unit.removesuffix("\r") if self._by_line else unit
        end = unit[len(line) :] + "\n" if self._by_line else ""
        reply: bytes = self.config.answer(line, self.peer, end)
        return reply


class ResponderService(NetworkService):
    """A responder over TCP and UDP."""

    def connected(self, peer: Peer) -> Responder:
        """NetworkService API."""
        return Responder(self, peer)

    def received(self, data: bytes, peer: Peer) -> bytes | None:
        """NetworkService API."""
        text = data.decode(self.config.charset, "replace")
        return None if self.config.quits(text) else self.config.answer(text, peer)


KIND = ServiceKind("responder", "a greeting, and a reply to each unit received", ResponderConfig, ResponderService)
