"""A mail in the spool: its envelope, what has become of each recipient, and the changes the queue makes. Pure.

A mail is `ready` (its open recipients are tried when they are due), or one of four states in which nothing is tried:
`held` (somebody said so), `captured` (accepted in mode capture), `quarantined` (handling it failed again and again),
`dead` (a report that could be delivered neither to its recipient nor to the postmaster). A recipient is `open`, then
`sent` or `failed`; a mail without an open recipient is deleted with the update that closes the last.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from multid.mail.envelope import Envelope
from multid.mail.reply import Reply


class MailState(StrEnum):
    """What a mail as a whole is waiting for."""

    READY = "ready"
    HELD = "held"
    CAPTURED = "captured"
    QUARANTINED = "quarantined"
    DEAD = "dead"


class DeliveryState(StrEnum):
    """Whether a recipient is still to be tried."""

    OPEN = "open"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient so far: `due` is wall time, `reply` and `remote` are of the last try, `warned` of the delay."""

    state: DeliveryState = DeliveryState.OPEN
    due: float = 0.0
    attempts: int = 0
    reply: Reply | None = None
    remote: str = ""
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """The octets of a mail, lines ended by CRLF: in memory, or in a file if they are many."""

    size: int
    data: bytes | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail as it lies in the spool; `deliveries` are in the order of the envelope's recipients."""

    envelope: Envelope
    deliveries: tuple[Delivery, ...]
    content: Content
    state: MailState = MailState.READY
    note: str = ""
    crashes: int = 0

    @property
    def open(self) -> list[int]:
        """Which recipients are still to be tried."""
        return [n for n, delivery in enumerate(self.deliveries) if delivery.state is DeliveryState.OPEN]


@dataclass(frozen=True, slots=True)
class Report:
    """A mail of our own (a DSN) that enters the spool with the update that causes it."""

    envelope: Envelope
    content: bytes


def new_mail(envelope: Envelope, content: Content, state: MailState = MailState.READY) -> QueuedMail:
    """Return a mail that is due at once for each of its recipients."""
    deliveries = (Delivery(due=envelope.received_at),) * len(envelope.recipients)
    return QueuedMail(envelope, deliveries, content, state)


def new_report(report: Report) -> QueuedMail:
    """Return the mail that a report is."""
    return new_mail(report.envelope, Content(len(report.content), report.content))


@dataclass(frozen=True, slots=True)
class Update:
    """A change of one mail, made whole or not at all: None and empty leave as it is.

    `deliveries` are new values by the recipient's place; `due` is set for every open recipient; `delete` takes the
    mail out of the spool.
    """

    id: str
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    state: MailState | None = None
    note: str = ""
    due: float | None = None
    crashes: int | None = None
    reports: tuple[Report, ...] = ()
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which mails to list: patterns as in the file (`*@example.org`), ids, or all; at most `limit`, after `after`."""

    ids: tuple[str, ...] = ()
    sender: str | None = None
    recipient: str | None = None
    state: MailState | None = None
    after: str = ""
    limit: int = 1000
