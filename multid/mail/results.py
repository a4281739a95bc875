"""What came of a try, written down: the recipients' new states and the reports that follow, in one update.

An update is repeated until the spool takes it, for what it says has happened; meanwhile there `is_trouble`, and nothing
new is to be sent. SpoolError if the spool refuses it for its own fault.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.mail.bounces import Bounces, Occasion, Verdict
from multid.mail.dsn import MAX_RETURNED
from multid.mail.interface import Spool, SpoolError
from multid.mail.judgement import Judgement
from multid.mail.lane import Lane
from multid.mail.queued import Content, DeliveryState, MailState, QueuedMail, Update
from multid.mail.reply import LOCAL_ERROR
from multid.mail.route import Route
from multid.mail.transfer import FileBlocks

_SPOOL_RETRY = 5.0
_TRIES_TO_HANDLE = 3

_EVENTS = {DeliveryState.SENT: "sent", DeliveryState.FAILED: "failed", DeliveryState.OPEN: "deferred"}


@dataclass
class Handling:
    """A mail in memory: as it is now, and which open recipients wait for something other than their time.

    `routes` are those that were looked at, `lanes` those it is parked at.
    """

    mail: QueuedMail
    routes: tuple[Route, ...]
    parked: list[int] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    unrouted: list[int] = field(default_factory=list)
    is_deleted: bool = False


class Results:
    """See the module; `counters` are of recipients by event, and of mails set aside, `delivered` by route.

    A mail that is to be tried no more is put into `aside`.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, spool: Spool, bounces: Bounces, aside: dict[str, MailState], wall: Callable[[], float]
    ) -> None:
        self.bounces = bounces
        self.counters: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self._reactor = reactor
        self._spool = spool
        self._aside = aside
        self._wall = wall
        self._troubled = 0

    @property
    def is_trouble(self) -> bool:
        """Whether a result waits for the spool to take it."""
        return self._troubled > 0

    async def settle(self, handling: Handling, judgement: Judgement, lane: Lane, expire: float) -> None:
        """Write a judgement and its reports to the spool; `expire` is the age at which a mail is given up."""
        content = b""
        if judgement.failed or judgement.delayed or judgement.relayed:
            content = await self._beginning(handling.mail.content)
        mail = handling.mail
        handling.mail = mail = replace(
            mail,
            deliveries=tuple(judgement.deliveries.get(place, before) for place, before in enumerate(mail.deliveries)),
        )
        verdict = Verdict()
        if content and not handling.is_deleted:
            verdict = self.bounces.tell(Occasion(mail, judgement, content, mail.envelope.received_at + expire))
        self._count(mail, judgement, lane)
        update = self._update(handling, judgement, verdict)
        await self.write(update)
        if update.delete:
            self._aside.pop(update.id, None)  # it may have been held while it was being sent

    async def crashed(self, handling: Handling, failure: Failure, due: float) -> None:
        """An error of our own must not stop the others, nor come back for ever: the third time a mail is set aside."""
        mail = handling.mail
        id_ = mail.envelope.id
        crashes = mail.crashes + 1
        self.log.failure("{mail}: handling it failed ({crashes})", failure, mail=id_, crashes=crashes)
        update = Update(id_, due=due, crashes=crashes)
        if crashes >= _TRIES_TO_HANDLE:
            note = f"handling it failed: {failure.getErrorMessage()}"
            update = replace(update, state=MailState.QUARANTINED, note=note)
            self._aside[id_] = MailState.QUARANTINED
            self.counters["quarantined"] += 1
        await self.write(update)

    async def write(self, update: Update) -> None:
        """Write an update, however long it takes."""
        is_troubled = False
        try:
            while True:
                try:
                    await self._spool.update(update)
                    return
                except SpoolError as error:
                    if error.reply.code == LOCAL_ERROR.code:
                        raise
                    self.log.error("{mail}: cannot be written: {error}", mail=update.id, error=error)
                if not is_troubled:
                    is_troubled = True
                    self._troubled += 1
                await deferLater(self._reactor, _SPOOL_RETRY)
        finally:
            self._troubled -= is_troubled

    def _update(self, handling: Handling, judgement: Judgement, verdict: Verdict) -> Update:
        mail = handling.mail
        id_ = mail.envelope.id
        if verdict.dead:
            # What nobody can be told is noted; the mail is dead once no recipient is open.
            handling.mail = mail = replace(mail, note=verdict.dead)
        if mail.open:
            state = self._aside.get(id_, MailState.READY) if verdict.dead else None
            return Update(id_, judgement.deliveries, state, mail.note, reports=verdict.reports)
        if not mail.note:
            return Update(id_, reports=verdict.reports, delete=True)
        self._aside[id_] = MailState.DEAD
        self.counters["dead"] += 1
        self.log.error("{mail}: dead: {note}", mail=id_, note=mail.note)
        return Update(id_, judgement.deliveries, MailState.DEAD, mail.note, reports=verdict.reports)

    async def _beginning(self, content: Content) -> bytes:
        if content.path is None:
            return content.data or b""
        async with FileBlocks(self._reactor, content.path) as blocks:
            return (await blocks.read())[: MAX_RETURNED + 1]

    def _count(self, mail: QueuedMail, judgement: Judgement, lane: Lane) -> None:
        for place, delivery in judgement.deliveries.items():
            what = _EVENTS[delivery.state]
            self.counters[what] += 1
            if what == "sent":
                self.delivered[lane.route.name] += 1
            self.log.info(
                "{mail}: {what}: <{recipient}> {remote} {reply} ({age:.2f} s)",
                mail=mail.envelope.id,
                what=what,
                recipient=mail.envelope.recipients[place].address,
                remote=delivery.remote,
                reply=delivery.reply,
                route=lane.name,
                age=self._wall() - mail.envelope.received_at,
            )
