"""What an SMTP conversation stands on: octets in, replies and events out, in order. Pure.

A state says what the next octets are: a command line, a response in AUTH, the content of DATA or of a chunk; or that
nothing is read because an answer is waited for, or never again. Replies that follow each other are one event to write.
What derives from `Dialogue` gives the steps: each takes something off the buffer and says whether to go on.
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from multid.mail.events import Close, Discard, Event, Send
from multid.mail.replies import TOO_MANY_COMMANDS, TOO_MANY_ERRORS
from multid.mail.reply import Reply
from multid.mail.settings import InboundSettings, Peer
from multid.mail.transaction import Transaction

SPARE_COMMANDS = 300
"""Commands between two mails beyond the recipients that one may have."""

State = Literal["command", "auth", "data", "chunk", "waiting", "closed"]


class Dialogue:
    """One conversation; `tls` is the protocol version, empty in clear, `user` who has logged in."""

    _STEPS: ClassVar[dict[State, Callable[[Any], bool]]] = {}

    def __init__(
        self, settings: InboundSettings, peer: Peer, *, tls: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self.tls = tls
        self.user = ""
        self.helo = ""
        self._settings = settings
        self._peer = peer
        self._clock = clock
        self._errors = 0
        self._commands = 0  # since the last mail that was taken
        self._most_commands = settings.max_recipients + SPARE_COMMANDS
        self._state: State = "command"
        self._buffer = b""
        self._at = 0
        self._events: list[Event] = []
        self._replies: list[Reply] = []
        self._answered: Callable[[Any], None] | None = None
        self._ending: Reply | None = None
        self._mail: Transaction | None = None

    def start(self) -> list[Event]:
        """Greet the client."""
        self._reply(Reply(220, "", f"{self._settings.hostname} ESMTP"))
        return self._run()

    def receive(self, data: bytes) -> list[Event]:
        """Take octets of the client."""
        self._buffer += data
        return self._run()

    def answer(self, answer: Any = None) -> list[Event]:
        """Go on with what the last event waited for."""
        answered, self._answered = self._answered, None
        if answered is None:
            raise RuntimeError("no event waits for an answer")
        if self._state == "waiting":
            self._state = "command"
            answered(answer)
        return self._run()

    def end(self, reply: Reply, *, at_once: bool = False) -> list[Event]:
        """Close with a 421 reply: at once, or when the mail whose content is coming in has its answer."""
        self._ending = reply
        if at_once and self._state != "closed":
            self._state = "command"
        return self._run()

    def _run(self) -> list[Event]:
        self._settle()
        while self._at < len(self._buffer) and self._STEPS[self._state](self):
            self._settle()
        self._buffer, self._at = (b"" if self._state == "closed" else self._buffer[self._at :]), 0
        if self._replies:
            self._flush()
        events, self._events = self._events, []
        return events

    def _settle(self) -> None:
        if self._ending is None and self._commands <= self._most_commands:
            return
        if self._state in {"command", "auth"}:
            last = self._ending or TOO_MANY_COMMANDS
            self._reply(last)
            self._close(last.text)

    def _reply(self, reply: Reply) -> None:
        self._replies.append(reply)
        if reply.code >= 500:
            self._errors += 1
            if self._errors >= self._settings.max_errors:
                self._ending = self._ending or TOO_MANY_ERRORS

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        self._events.append(Send(bytes(replies[0]) if len(replies) == 1 else b"".join(map(bytes, replies))))

    def _emit(self, event: Event) -> None:
        if self._replies:
            self._flush()
        self._events.append(event)

    def _wait(self, event: Event, answered: Callable[[Any], None]) -> None:
        self._emit(event)
        self._answered = answered
        self._state = "waiting"

    def _close(self, reason: str) -> None:
        self._forget_mail()
        self._emit(Close(reason))
        self._state = "closed"

    def _forget_mail(self) -> None:
        if self._mail is not None:
            self._mail = None
            self._emit(Discard())

    def stop(self) -> bool:
        """Take nothing."""
        return False
