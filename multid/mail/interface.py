"""The seams of the mail relay, without logic: what the inbound side asks of a spool.

A spool takes a mail in three steps: `begin` when a sender is announced, `append` for each piece of content in order,
`commit` with the envelope. When the Deferred of `commit` fires the mail is durable and belongs to the spool; before
that it does not exist, and the end of the process or `abort` leaves nothing behind. Concurrent commits share
transactions.
"""

from typing import Protocol

from twisted.internet.defer import Deferred

from multid.mail.envelope import Envelope
from multid.mail.reply import LOCAL_ERROR, Reply


class SpoolError(Exception):
    """The spool cannot do it: `reply` is for the peer and says whether to try again; the text is for the log."""

    def __init__(self, text: str, reply: Reply = LOCAL_ERROR) -> None:
        super().__init__(text)
        self.reply = reply

    @property
    def is_transient(self) -> bool:
        """Whether trying again later makes sense."""
        return self.reply.is_transient


class Incoming(Protocol):
    """A mail that is on its way into the spool."""

    @property
    def id(self) -> str:
        """The queue id that the mail will have."""
        ...

    def append(self, data: bytes) -> Deferred[None] | None:
        """Take the next piece of content; where a Deferred is returned, give no more until it fires.

        Never raises, and the Deferred never fails: an error is kept, further pieces are dropped, and `commit` tells it.
        """
        ...

    def commit(self, envelope: Envelope) -> Deferred[None]:
        """Make the mail durable; fires when it is.

        Fails with SpoolError (452 4.3.1 if there is no room, else 451 4.3.0) if it is not and never will be.
        """
        ...

    def abort(self) -> None:
        """Forget the mail; nothing after a commit, and nothing the second time."""
        ...


class IncomingSpool(Protocol):
    """The half of a spool that the inbound side sees."""

    def begin(self, size: int) -> Incoming:
        """Open a mail of `size` octets as announced, or 0; SpoolError (452 4.3.1) if there is no room for it."""
        ...
