"""The mails that wait, and for what: their time, their first try, a route, or an operator's word. Pure.

Of a mail that waits for its time (`agenda`), for a route (`unrouted`) or for somebody (`aside`, with its state) there
is its id and no more. New mails are kept whole for their first try, up to `FRESH` octets of them.
"""

from collections import Counter, OrderedDict

from multid.mail.agenda import Agenda
from multid.mail.queued import MailState, QueuedMail

FRESH = 8 << 20
"""Octets of new mails that wait in memory for their first try."""


class Waiting:
    """See the module; a mail without a route for one recipient may have a time for another."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.aside: dict[str, MailState] = {}
        self.unrouted: dict[str, None] = {}
        self._fresh: OrderedDict[str, QueuedMail] = OrderedDict()
        self._octets = 0

    def put_fresh(self, mail: QueuedMail) -> bool:
        """Keep a new mail whole, if there is room for it."""
        if self._octets + mail.content.size > FRESH:
            return False
        self._fresh[mail.envelope.id] = mail
        self._octets += mail.content.size
        return True

    def is_fresh(self, id_: str) -> bool:
        """Whether a mail waits for its first try."""
        return id_ in self._fresh

    def pop_fresh(self) -> QueuedMail | None:
        """Take out the new mail that has waited longest."""
        return self._take_fresh(next(iter(self._fresh))) if self._fresh else None

    def _take_fresh(self, id_: str) -> QueuedMail:
        mail = self._fresh.pop(id_)
        self._octets -= mail.content.size
        return mail

    def drop(self, id_: str) -> None:
        """A mail does not wait to be tried."""
        self.agenda.discard(id_)
        self.unrouted.pop(id_, None)
        if id_ in self._fresh:
            self._take_fresh(id_)

    def counts(self) -> dict[str, int]:
        """Return how many mails there are that are to be tried, and how many in each other state."""
        ready = len(self.agenda) + len(self._fresh) + sum(id_ not in self.agenda for id_ in self.unrouted)
        return {"ready": ready, **Counter(str(state) for state in self.aside.values())}

    def oldest(self) -> str | None:
        """Return the smallest id of a mail that is to be tried."""
        ids = (self.agenda.oldest(), min(self.unrouted, default=None), next(iter(self._fresh), None))
        return min((id_ for id_ in ids if id_ is not None), default=None)
