"""The seams of the mail relay, without logic: what the inbound side and the delivery queue ask of a spool.

A spool takes a mail in three steps: `begin` when a sender is announced, `append` for each piece of content in order,
`commit` with the envelope. When the Deferred of `commit` fires the mail is durable and belongs to the spool; before
that it does not exist, and the end of the process or `abort` leaves nothing behind. Concurrent commits share
transactions.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from multid.mail.envelope import Envelope
from multid.mail.queued import MailState, Query, QueuedMail, Update
from multid.mail.reply import LOCAL_ERROR, Reply


class SpoolError(Exception):
    """The spool cannot do it: `reply` is for the peer and says whether to try again; the text is for the log.

    `is_damage` is set where what is stored has been found to be no longer what was written.
    """

    def __init__(self, text: str, reply: Reply = LOCAL_ERROR, *, is_damage: bool = False) -> None:
        super().__init__(text)
        self.reply = reply
        self.is_damage = is_damage

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


class Spool(IncomingSpool, Protocol):
    """A durable store of mails; every call but `open` is only made while it is open.

    Each Deferred may fail with SpoolError, and nothing has changed then.
    """

    stored: Callable[[QueuedMail], None]
    """Called with each mail that has become durable: from `begin` and commit, or as a report of an update."""

    new_state: MailState
    """What mails that are committed from now on are: ready, or captured."""

    def open(self) -> Deferred[None]:
        """Take the store for this process alone and make it whole after a crash; SpoolError if that cannot be."""
        ...

    def close(self) -> Deferred[None]:
        """Finish what was asked for, and leave the store to others."""
        ...

    def scan(self) -> Deferred[list[tuple[str, MailState, float]]]:
        """Return id, state and earliest due time (0 if no recipient is open) of every mail, oldest first."""
        ...

    def load(self, id_: str) -> Deferred[QueuedMail | None]:
        """Return a mail with its content, or None if there is none of that id."""
        ...

    def update(self, change: Update) -> Deferred[None]:
        """Make a change of one mail, and store its reports, in one transaction."""
        ...

    def select(self, query: Query) -> Deferred[list[QueuedMail]]:
        """Return the mails that a query names, without their content, oldest first."""
        ...
