"""A session with everything around it played in memory.

A spool that keeps, users that may log in, TLS that starts at once. Whatever is replied is linted: the grammar of RFC
5321 4.2, one code a reply, the enhanced code of RFC 2034 and its class.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from multid.mail.address import Pattern
from multid.mail.complete import Completion
from multid.mail.envelope import Envelope
from multid.mail.events import Append, Authenticate, Begin, Close, Commit, Discard, Refused, Send, StartTls
from multid.mail.reply import NO_ROOM, Reply
from multid.mail.session import Session
from multid.mail.settings import InboundSettings, Peer

NOW = 1764025001.0
SETTINGS = InboundSettings(
    hostname="mail.example.org",
    domain="example.org",
    postmaster="admin@example.org",
    completion=Completion(date=False, message_id=False, from_=False),
)
TRUSTED = Peer("192.0.2.1", 4711, is_trusted=True)
STRANGER = Peer("192.0.2.1", 4711)

_LINE = re.compile(rb"([2-5][0-5][0-9])([ -])([\x20-\x7e]*)\r\n")
_ENHANCED = re.compile(rb"([245])\.[0-9]{1,3}\.[0-9]{1,3} \S")
_WITHOUT = {b"220", b"334", b"354"}


def lint(out: bytes) -> list[bytes]:
    """Return the replies of a conversation; AssertionError where one is not as the RFCs have it."""
    lines = out.splitlines(keepends=True)
    replies: list[list[bytes]] = [[]]
    for line in lines:
        assert len(line) <= 512, line
        match = _LINE.fullmatch(line)
        assert match, line
        assert all(earlier[:3] == match[1] for earlier in replies[-1]), replies[-1]
        replies[-1].append(line)
        if match[2] == b" ":
            replies.append([])
    assert replies.pop() == [], "the last reply has no end"
    for reply in replies:
        _lint_enhanced(reply)
    return [b"".join(reply) for reply in replies]


def _lint_enhanced(reply: list[bytes]) -> None:
    for line in reply:
        enhanced = _ENHANCED.match(line, 4)
        if line[:3] in _WITHOUT and not line.startswith(b"220 2.0.0"):
            assert not enhanced, line
        elif enhanced:
            assert enhanced[1] == line[:1], line
        else:
            assert line[4:].startswith(b"mail.example.org") or len(reply) > 2, line


@dataclass
class Mail:
    """A mail as the spool has it; `content` is without the Received field of this relay."""

    envelope: Envelope
    trace: bytes
    content: bytes


class Conversation:
    """One session; `feed` plays the client's octets, `out` is all that was replied."""

    users = {"user": b"secret", "ünser": b"s\xc3\xa9cret"}

    def __init__(
        self, settings: InboundSettings = SETTINGS, peer: Peer = TRUSTED, *, tls: str = "", room: int = 1 << 40
    ):
        self.session = Session(settings, peer, tls=tls, clock=lambda: NOW)
        self.out = b""
        self.mails: list[Mail] = []
        self.closed = ""
        self.tls_started = False
        self.refused: list[Refused] = []
        self.appended: list[bytes] = []
        self.open = False
        self.room = room
        self._run(self.session.start())

    def feed(self, data: bytes) -> bytes:
        """Give octets to the session; return what it replied."""
        before = len(self.out)
        self._run(self.session.receive(data))
        return self.out[before:]

    def line(self, text: str) -> bytes:
        """Give a command line to the session."""
        return self.feed(text.encode() + b"\r\n")

    @property
    def replies(self) -> list[bytes]:
        return lint(self.out)

    def _run(self, events: list[Any]) -> None:
        while events:
            events = [more for event in events for more in self._do(event)]

    def _do(self, event: Any) -> list[Any]:
        assert not self.closed, event
        match event:
            case Send(data):
                self.out += data
            case Append(data):
                assert self.open
                self.appended.append(data)
            case Close(reason):
                self.closed = reason
            case Discard():
                assert self.open
                self.open = False
            case Begin(size):
                if size > self.room:
                    return self.session.answer(NO_ROOM)
                self.open, self.appended = True, []
                return self.session.answer(f"ID{len(self.mails)}")
            case Commit(envelope):
                self.open = False
                self._keep(envelope)
                return self.session.answer(Reply(250, "2.0.0", f"Ok: queued as {envelope.id}"))
            case Authenticate(credentials):
                good = self.users.get(credentials.user) == credentials.password
                good_or_not = Reply(235, "2.7.0", "Ok") if good else Reply(535, "5.7.8", "Bad credentials")
                return self.session.answer(good_or_not)
            case Refused():
                self.refused.append(event)
            case StartTls():
                self.tls_started = True
                return self.session.answer("TLSv1.3")
        return []

    def _keep(self, envelope: Envelope) -> None:
        stored = b"".join(self.appended)
        assert envelope.size == len(stored)
        match = re.match(rb"Received: .*\r\n(?:\t.*\r\n)*", stored)
        assert match
        self.mails.append(Mail(envelope, match[0], stored[match.end() :]))


def settings_of(words: dict[str, str]) -> tuple[InboundSettings, Peer]:
    """Make settings of a dialogue's words."""
    values: dict[str, Any] = {}
    peer = TRUSTED
    for name, word in words.items():
        match name:
            case "peer":
                peer = TRUSTED if word == "trusted" else STRANGER
            case "senders":
                values[name] = tuple(map(Pattern, word.split()))
            case _:
                values[name] = int(word) if word.isdigit() else word
    return replace(SETTINGS, **values), peer
