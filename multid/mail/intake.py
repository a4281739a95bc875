"""The content of a mail: DATA, with CRLF.CRLF as its only end, and BDAT, which counts octets (RFC 3030). Pure.

Whatever is wrong with a content is told when it has ended, and the octets of a chunk are taken off the stream also
where the chunk is refused; only far more than the size limit (twice, and 1 MiB) closes the connection.
"""

from multid.mail.commands import parse_bdat
from multid.mail.dialogue import Dialogue
from multid.mail.events import Append, Commit, Refused
from multid.mail.replies import (
    BDAT_ONLY,
    GO_AHEAD,
    IN_CHUNKS,
    MAIL_FIRST,
    NO_ARGUMENT,
    NO_RECIPIENTS,
    RESET_FIRST,
    TLS_NEEDED,
    TOO_MUCH_DATA,
)
from multid.mail.reply import OK, Reply
from multid.mail.transaction import Transaction

WORTH_A_COMMAND = 1024
"""Octets of a chunk that pay for its command."""


class Intake(Dialogue):
    """A conversation that takes content."""

    _chunk_left = 0
    _is_last_chunk = False
    _chunk_refusal: Reply | None = None

    @property
    def _needs_tls(self) -> bool:
        return self._settings.starttls == "required" and not self.tls

    def data(self, argument: str) -> Reply | None:
        """Carry out the command DATA."""
        if argument:
            return NO_ARGUMENT
        if self._mail is None:
            return MAIL_FIRST
        if self._mail.is_chunked:
            return IN_CHUNKS
        if self._mail.mail.body == "BINARYMIME":
            return BDAT_ONLY
        if not self._mail.recipients:
            return NO_RECIPIENTS
        self._state = "data"
        return GO_AHEAD

    def read_data(self) -> bool:
        """Take content up to the end of data."""
        mail = self._transaction
        piece, rest = mail.dots.feed(self._buffer[self._at :] if self._at else self._buffer)
        self._at = len(self._buffer) - len(rest or b"")
        self._store(mail.feed(piece))
        if self._gave_up():
            return False
        if rest is not None:
            self._end_of_mail()
        return True

    def bdat(self, argument: str) -> Reply | None:
        """Carry out the command BDAT: what follows is a chunk, wanted or not."""
        size, self._is_last_chunk = parse_bdat(argument)
        self._chunk_refusal = self._refuse_chunk()
        self._chunk_left = size
        self._commands -= size >= WORTH_A_COMMAND
        if size > self._settings.most_data:
            self._reply(TOO_MUCH_DATA)
            self._close(TOO_MUCH_DATA.text)
            return None
        if self._mail is not None and self._chunk_refusal is None:
            self._mail.is_chunked = True
        self._state = "chunk"
        return None if size else self._end_of_chunk()

    def _refuse_chunk(self) -> Reply | None:
        if self._needs_tls:
            return TLS_NEEDED
        if self._mail is None:
            return MAIL_FIRST
        if self._mail.was_refused:
            return RESET_FIRST
        return None if self._mail.recipients else NO_RECIPIENTS

    def read_chunk(self) -> bool:
        """Take what is there of a chunk."""
        piece = self._buffer[self._at : self._at + self._chunk_left]
        self._at += len(piece)
        self._chunk_left -= len(piece)
        if self._chunk_refusal is None:
            self._store(self._transaction.feed(piece))
        if self._gave_up():
            return False
        if not self._chunk_left and (reply := self._end_of_chunk()):
            self._reply(reply)
        return True

    def _end_of_chunk(self) -> Reply | None:
        self._state = "command"
        mail = self._mail
        if mail is None or self._chunk_refusal is not None:
            refusal = self._chunk_refusal
        else:
            refusal = mail.verdict
            mail.was_refused = refusal is not None
        if self._is_last_chunk and mail is not None and mail.is_chunked:
            if refusal is not None:
                self._forget_mail()
                return refusal
            self._end_of_mail()
            return None
        return refusal or OK

    @property
    def _transaction(self) -> Transaction:
        if self._mail is None:
            raise RuntimeError("content without a mail")
        return self._mail

    def _store(self, data: bytes) -> None:
        if data:
            self._emit(Append(data))

    def _gave_up(self) -> bool:
        if self._mail is None or not self._mail.is_far_too_big:
            return False
        self._reply(TOO_MUCH_DATA)
        self._close(TOO_MUCH_DATA.text)
        return True

    def _end_of_mail(self) -> None:
        mail = self._transaction
        self._store(mail.finish())
        if mail.verdict is None:
            self._wait(Commit(mail.envelope()), self._committed)
            return
        self._state = "command"
        self._forget_mail()
        self._reply(mail.verdict)
        self._emit(Refused(f"mail {mail.id}", mail.verdict))

    def _committed(self, reply: Reply) -> None:
        self._mail = None
        self._reply(reply)
        if reply.is_positive:
            self._errors = self._commands = 0
