"""What the replies to a try mean for each recipient (RFC 5321 4.5.4, 4.2.5): done, later, or never. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from multid.mail.queued import Delivery, DeliveryState, QueuedMail
from multid.mail.reply import Reply
from multid.mail.retry import RetryPolicy


@dataclass
class Judgement:
    """The new values of the recipients tried, and of which of them the sender may have to hear what."""

    deliveries: dict[int, Delivery] = field(default_factory=dict)
    relayed: list[int] = field(default_factory=list)
    delayed: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


def judge(
    mail: QueuedMail,
    replies: Mapping[int, Reply],
    remote: str,
    *,
    policy: RetryPolicy,
    now: float,
    random: Callable[[], float],
) -> Judgement:
    """Judge a try by the replies for the recipients at their places."""
    judgement = Judgement()
    age = now - mail.envelope.received_at
    for place, reply in replies.items():
        before = mail.deliveries[place]
        after = replace(before, attempts=before.attempts + 1, reply=reply, remote=remote)
        if reply.is_positive:
            after = replace(after, state=DeliveryState.SENT)
            judgement.relayed.append(place)
        elif reply.is_permanent or policy.is_expired(age):
            after = replace(after, state=DeliveryState.FAILED)
            judgement.failed.append(place)
        else:
            late = policy.is_late(age) and not before.warned
            if late:
                judgement.delayed.append(place)
            due = now + policy.delay(after.attempts, random)
            after = replace(after, due=due, warned=before.warned or late)
        judgement.deliveries[place] = after
    return judgement


def judge_untried(mail: QueuedMail, places: list[int], reply: Reply, *, policy: RetryPolicy, now: float) -> Judgement:
    """Judge recipients that could not be tried, for their destination is down: only their mail's age counts."""
    judgement = Judgement()
    age = now - mail.envelope.received_at
    for place in places:
        before = mail.deliveries[place]
        if policy.is_expired(age):
            judgement.failed.append(place)
            judgement.deliveries[place] = replace(before, state=DeliveryState.FAILED, reply=reply)
        elif policy.is_late(age) and not before.warned:
            judgement.delayed.append(place)
            judgement.deliveries[place] = replace(before, warned=True, reply=reply)
    return judgement
