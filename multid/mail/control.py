"""What an operator sees of the queue and does to it: plain data out, names and texts in.

A call names mails by `ids`, or by `sender`, `recipient` and `state`, all of which must fit, or by `all`. What is done
is done to each mail that fits now, in pages, and the number of mails is returned; LookupError for an id that is not
there, ValueError for what makes no sense.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.python.failure import Failure

from multid.mail.address import Pattern
from multid.mail.envelope import queue_number
from multid.mail.queue import DeliveryQueue
from multid.mail.queued import DeliveryState, MailState, Query, QueuedMail, Update
from multid.mail.transfer import FileBlocks

PAGE = 1000

_HEADER = 64 * 1024


Change = tuple[Update, Callable[[], None]]
"""What is written to the spool, and what is done once it is."""


class QueueControl:
    """The verbs of `multid queue`, which are Postfix's."""

    def __init__(self, reactor: Any, queue: DeliveryQueue, wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self._queue = queue
        self._wall = wall

    async def list(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page of mails, and as `next` what to give as `after` for the next one, or None."""
        limit = int(arguments.get("limit", PAGE))
        if not 1 <= limit <= PAGE:
            raise ValueError(f"a page has 1 to {PAGE} mails")
        mails = await self._queue.spool.select(replace(_query(arguments), limit=limit))
        following = mails[-1].envelope.id if len(mails) == limit else None
        return {"mails": [self._summary(mail) for mail in mails], "next": following}

    async def show(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return one mail with its header, and with `content` all of it, as text."""
        mail = await self._load(str(arguments.get("id", "")))
        beginning = mail.content.data or b""
        if mail.content.path is not None:
            async with FileBlocks(self._reactor, mail.content.path) as blocks:
                beginning = await blocks.read()
        header = beginning[: _HEADER * 2].partition(b"\r\n\r\n")[0]
        shown = beginning if arguments.get("content") else header
        return self._summary(mail) | _details(mail) | {"text": shown.decode("utf-8", "backslashreplace")}

    async def retry(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        """Try mails now, and the destinations that are down."""
        self._queue.probe()
        return await self._each(arguments, self._retry)

    async def hold(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        """Try mails no more until they are released."""
        return await self._each(arguments, self._hold)

    async def release(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        """Try mails again that were held, captured, quarantined or dead."""
        return await self._each(arguments, self._release)

    async def delete(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        """Take mails out of the queue; nobody is told."""
        return await self._each(arguments, self._delete)

    # One mail

    def _retry(self, mail: QueuedMail) -> Change | None:
        if mail.state is not MailState.READY:
            return None
        return Update(mail.envelope.id, due=self._wall()), lambda: self._queue.look_now(mail.envelope.id)

    def _hold(self, mail: QueuedMail) -> Change | None:
        if mail.state is not MailState.READY:
            return None
        self._queue.set_aside(mail.envelope.id, MailState.HELD)
        return Update(mail.envelope.id, state=MailState.HELD, note="held by the operator"), lambda: None

    def _release(self, mail: QueuedMail) -> Change | None:
        if mail.state is MailState.READY:
            return None
        now = self._wall()
        again = {}
        if mail.state is MailState.DEAD:
            again = {
                place: replace(delivery, state=DeliveryState.OPEN, due=now)
                for place, delivery in enumerate(mail.deliveries)
                if delivery.state is DeliveryState.FAILED
            }
        update = Update(mail.envelope.id, again, MailState.READY, due=now, crashes=0)
        return update, lambda: self._queue.look_now(mail.envelope.id)

    def _delete(self, mail: QueuedMail) -> Change | None:
        self._queue.forget(mail.envelope.id)
        return Update(mail.envelope.id, delete=True), lambda: None

    # Many

    async def _each(
        self,
        arguments: Mapping[str, Any],
        change: Callable[[QueuedMail], Change | None],
    ) -> dict[str, int]:
        query = _query(arguments)
        if not (arguments.get("all") is True or query.ids or query.sender or query.recipient or query.state):
            raise ValueError("name mails by id, by sender, recipient or state, or say all")
        done = seen = 0
        while mails := await self._queue.spool.select(query):
            changes = [(mail, *made) for mail in mails if (made := change(mail)) is not None]
            written = await DeferredList(
                [self._queue.spool.update(update) for _, update, _ in changes], consumeErrors=True
            )
            for (mail, _, afterwards), (is_written, _) in zip(changes, written, strict=True):
                afterwards() if is_written else self._stays(mail)
            for _, result in written:
                if isinstance(result, Failure):
                    result.raiseException()
            done, seen = done + len(changes), seen + len(mails)
            query = replace(query, after=mails[-1].envelope.id)
        if query.ids and not seen:
            raise LookupError(f"no mail {', '.join(query.ids)} in the queue")
        return {"done": done}

    def _stays(self, mail: QueuedMail) -> None:
        """What was to be changed could not be written: the mail is as it was."""
        if mail.state is MailState.READY:
            self._queue.look_now(mail.envelope.id)
        else:
            self._queue.set_aside(mail.envelope.id, mail.state)

    async def _load(self, id_: str) -> QueuedMail:
        _check_id(id_)
        mail = await self._queue.spool.load(id_)
        if mail is None:
            raise LookupError(f"no mail {id_} in the queue")
        return mail

    def _summary(self, mail: QueuedMail) -> dict[str, Any]:
        envelope = mail.envelope
        return {
            "id": envelope.id,
            "state": self._queue.state_of(mail),
            "note": mail.note,
            "size": envelope.size,
            "received_at": envelope.received_at,
            "sender": envelope.sender,
            "recipients": [
                {
                    "address": recipient.address,
                    "state": delivery.state,
                    "due": delivery.due,
                    "attempts": delivery.attempts,
                    "reply": str(delivery.reply) if delivery.reply else "",
                    "remote": delivery.remote,
                }
                for recipient, delivery in zip(envelope.recipients, mail.deliveries, strict=True)
            ],
        }


def _details(mail: QueuedMail) -> dict[str, Any]:
    names = ("peer", "helo", "auth_user", "tls", "origin", "body", "smtputf8", "ret", "envid")
    return {name: getattr(mail.envelope, name) for name in names}


def _query(arguments: Mapping[str, Any]) -> Query:
    ids = arguments.get("ids") or ()
    if isinstance(ids, str):
        ids = ids.split(",")
    if not isinstance(ids, list | tuple):
        raise ValueError("ids is a list of texts")
    for id_ in ids:
        _check_id(id_)
    for name in ("sender", "recipient", "state", "after"):
        if not isinstance(arguments.get(name) or "", str):
            raise ValueError(f"{name} is a text")
    for pattern in filter(None, (arguments.get("sender"), arguments.get("recipient"))):
        Pattern(pattern)  # a ValueError says what one looks like
    state = arguments.get("state") or None
    return Query(
        ids=tuple(ids),
        sender=arguments.get("sender") or None,
        recipient=arguments.get("recipient") or None,
        state=None if state is None else MailState(state),
        after=str(arguments.get("after") or ""),
        limit=PAGE,
    )


def _check_id(id_: Any) -> None:
    try:
        queue_number(id_)
    except (ValueError, TypeError):
        raise LookupError(f"no mail {id_} in the queue") from None
