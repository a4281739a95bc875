"""Spools that keep nothing on disk: one for tests and captures of a moment, one for measuring what is before it."""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed

from multid.mail.address import Pattern
from multid.mail.envelope import Envelope, QueueIds
from multid.mail.interface import Incoming, Spool
from multid.mail.queued import Content, DeliveryState, MailState, Query, QueuedMail, Update, new_mail, new_report


def tell_nobody(mail: QueuedMail) -> None:
    """What a spool does with the mails it has stored as long as there is no queue."""


class MemoryIncoming:
    """A mail on its way into memory."""

    def __init__(self, spool: "MemorySpool") -> None:
        self.id = spool.new_id()
        self._spool = spool
        self._parts: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Take octets."""
        self._parts.append(data)

    def commit(self, envelope: Envelope) -> Deferred[None]:
        """Put the mail into the spool."""
        data = b"".join(self._parts)
        self._spool.insert(new_mail(envelope, Content(len(data), data), self._spool.new_state))
        return succeed(None)

    def abort(self) -> None:
        """Forget the mail."""
        self._parts = []


class MemorySpool:
    """The spool as it is meant, in a dictionary."""

    def __init__(self) -> None:
        self.stored: Callable[[QueuedMail], None] = tell_nobody
        self.new_state = MailState.READY
        self.new_id = QueueIds()
        self.mails: dict[str, QueuedMail] = {}

    def open(self) -> Deferred[None]:
        """Nothing is to be opened."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Nothing is to be closed; the mails stay for as long as the object does."""
        return succeed(None)

    def begin(self, size: int) -> Incoming:
        """Open a mail."""
        return MemoryIncoming(self)

    def insert(self, mail: QueuedMail) -> None:
        """Keep a mail."""
        self.mails[mail.envelope.id] = mail
        self.stored(mail)

    def scan(self) -> Deferred[list[tuple[str, MailState, float]]]:
        """Return id, state and earliest due time of every mail."""
        return succeed(
            [
                (id_, mail.state, min((mail.deliveries[place].due for place in mail.open), default=0.0))
                for id_, mail in self._sorted()
            ]
        )

    def load(self, id_: str) -> Deferred[QueuedMail | None]:
        """Return a mail with its content."""
        return succeed(self.mails.get(id_))

    def update(self, change: Update) -> Deferred[None]:
        """Make a change of one mail."""
        mail = self.mails.pop(change.id, None)
        if mail is not None and not change.delete:
            self.mails[change.id] = _changed(mail, change)
        for report in change.reports:
            self.insert(new_report(report))
        return succeed(None)

    def select(self, query: Query) -> Deferred[list[QueuedMail]]:
        """Return the mails that a query names."""
        found = [mail for id_, mail in self._sorted() if id_ > query.after and _is_asked_for(mail, query)]
        return succeed([replace(mail, content=Content(mail.content.size)) for mail in found[: query.limit]])

    def _sorted(self) -> list[tuple[str, QueuedMail]]:
        return sorted(self.mails.items())


def _changed(mail: QueuedMail, change: Update) -> QueuedMail:
    deliveries = [change.deliveries.get(place, delivery) for place, delivery in enumerate(mail.deliveries)]
    if change.due is not None:
        deliveries = [
            replace(delivery, due=change.due) if delivery.state is DeliveryState.OPEN else delivery
            for delivery in deliveries
        ]
    mail = replace(mail, deliveries=tuple(deliveries))
    if change.state is not None:
        mail = replace(mail, state=change.state, note=change.note)
    return mail if change.crashes is None else replace(mail, crashes=change.crashes)


def _is_asked_for(mail: QueuedMail, query: Query) -> bool:
    if query.ids and mail.envelope.id not in query.ids:
        return False
    if query.state not in {None, mail.state}:
        return False
    if query.sender is not None and not Pattern(query.sender).matches(mail.envelope.sender):
        return False
    if query.recipient is None:
        return True
    pattern = Pattern(query.recipient)
    return any(pattern.matches(recipient.address) for recipient in mail.envelope.recipients)


class NullSpool(MemorySpool):
    """Says that it has stored what it forgets: measures all that is not the spool."""

    def insert(self, mail: QueuedMail) -> None:
        """Forget a mail."""


_spools: tuple[type[Spool], ...] = (MemorySpool, NullSpool)
