"""Who is told what about a mail, and when nobody can be: the reports of an update (RFC 3461 5.2, 6.1; RFC 5321 6.1).

The sender is told of failures, and of delays, unless NOTIFY of the recipient says otherwise; of a recipient that was
passed on to a server without DSN, only if it asked for SUCCESS. A report is never sent to the null sender: when mail
from it fails, the postmaster is told, and if that is who could not be reached, or there is none, the mail becomes
`dead`: it stays in the spool, is counted, and causes no further mail. So does mail whose sender has had as many
reports as `per_sender` allows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from multid.mail.dsn import Action, Notice, build_report
from multid.mail.envelope import Envelope, Recipient
from multid.mail.judgement import Judgement
from multid.mail.queued import QueuedMail, Report

_HOUR = 3600.0
_MAX_SENDERS = 10_000


@dataclass(frozen=True)
class BounceSettings:
    """Who reports, and to whom; `per_sender` is reports a second."""

    hostname: str
    domain: str
    postmaster: str | None = None
    per_sender: float = 20 / _HOUR


@dataclass(frozen=True)
class Occasion:
    """What there may be something to tell about: a mail, its judgement, the beginning of its content."""

    mail: QueuedMail
    judgement: Judgement
    content: bytes
    expires_at: float


@dataclass(frozen=True)
class Verdict:
    """The reports that go with an update; `dead` says why a mail that failed is kept instead."""

    reports: tuple[Report, ...] = ()
    dead: str = ""


class Bounces:
    """Makes the reports, and keeps count of each sender's."""

    def __init__(self, settings: BounceSettings, new_id: Callable[[], str], now: Callable[[], float]) -> None:
        self.settings = settings
        self._new_id = new_id
        self._now = now
        self._credit: dict[str, tuple[float, float]] = {}

    def tell(self, occasion: Occasion) -> Verdict:
        """Return what is to be told."""
        reports: list[Report] = []
        dead = ""
        for action, places in _wanted(occasion):
            to = self._addressee(occasion.mail, action)
            problem = self._problem(to)
            if not problem:
                reports.append(self._report(occasion, action, places, to))
            elif action == "failed":
                dead = problem
        return Verdict(tuple(reports), dead)

    def _addressee(self, mail: QueuedMail, action: Action) -> str:
        if mail.envelope.sender:
            return mail.envelope.sender
        postmaster = self.settings.postmaster
        was_for_postmaster = any(recipient.address == postmaster for recipient in mail.envelope.recipients)
        return postmaster if postmaster and action == "failed" and not was_for_postmaster else ""

    def _problem(self, to: str) -> str:
        if not to:
            return "there is nobody to tell that it failed"
        return "" if self._may_tell(to) else "its sender has had too many reports"

    def _may_tell(self, address: str) -> bool:
        """Whether a report may go; a sender's credit fills up over an hour, and a report takes one of it."""
        most = max(1.0, self.settings.per_sender * _HOUR)
        now = self._now()
        credit, at = self._credit.pop(address, (most, now))
        credit = min(most, credit + max(0.0, now - at) * self.settings.per_sender)
        self._credit[address] = (credit - 1 if credit >= 1 else credit, now)
        while len(self._credit) > _MAX_SENDERS:
            del self._credit[next(iter(self._credit))]
        return credit >= 1

    def _report(self, occasion: Occasion, action: Action, places: Sequence[int], to: str) -> Report:
        id_, now, mail = self._new_id(), self._now(), occasion.mail
        notice = Notice(
            action,
            mail.envelope,
            [(mail.envelope.recipients[place], occasion.judgement.deliveries[place]) for place in places],
            to,
            occasion.content,
            is_whole=len(occasion.content) == mail.content.size,
            retried_until=occasion.expires_at,
        )
        text = build_report(notice, id_=id_, hostname=self.settings.hostname, domain=self.settings.domain, now=now)
        envelope = Envelope(
            id=id_,
            sender="",
            recipients=(Recipient(to),),
            size=len(text),
            received_at=now,
            body="7BIT" if text.isascii() else "8BITMIME",
            smtputf8=not to.isascii(),
            origin="dsn",
        )
        return Report(envelope, text)


def _wanted(occasion: Occasion) -> Iterator[tuple[Action, list[int]]]:
    """Yield what happened, and to which recipients whose sender wants to hear of it."""
    recipients, judgement = occasion.mail.envelope.recipients, occasion.judgement
    events: tuple[tuple[Action, str, list[int]], ...] = (
        ("failed", "FAILURE", judgement.failed),
        ("delayed", "DELAY", judgement.delayed),
        ("relayed", "SUCCESS", judgement.relayed),
    )
    for action, event, places in events:
        default = frozenset() if action == "relayed" else frozenset({event})
        wanted = [place for place in places if event in (recipients[place].notify or default)]
        if wanted:
            yield action, wanted
