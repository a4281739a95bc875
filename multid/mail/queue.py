"""The delivery queue: which mail is tried when, and what comes of it.

Of a mail that waits it knows the id and when to look at it next, no more. When that time comes it loads the mail,
finds a route for each recipient that is due (so queued mail follows the routes of today), and hands the mail to the
lanes of these routes (`multid.mail.lane`); a new mail goes there without being loaded. Every result is written to the
spool as it comes: recipients done, later or failed, with the reports that follow, in one update that is repeated
until the spool takes it; meanwhile nothing new is sent. A mail that no lane has room for is parked there by its id; it
is looked at again when there is room, and to be given up when it is too old. A mail without a route waits for routes.

At most `WINDOW` mails are in memory. In modes `hold` and `capture` nothing is tried. A mail whose handling raises is
tried again later, and quarantined the third time. `stop` lets what is being sent end, so that no mail is sent twice.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.mail import client_tls
from multid.mail.agenda import Agenda
from multid.mail.bounces import Bounces, BounceSettings, Occasion, Verdict
from multid.mail.dsn import MAX_RETURNED
from multid.mail.envelope import received_at
from multid.mail.interface import Spool, SpoolError
from multid.mail.judgement import Judgement, judge, judge_untried
from multid.mail.lane import Attempt, Connect, Job, Lane, Result
from multid.mail.outbound import connect
from multid.mail.queued import Content, DeliveryState, MailState, QueuedMail, Update
from multid.mail.reply import LOCAL_ERROR, Reply
from multid.mail.retry import RetryPolicy
from multid.mail.route import Hop, Route, find_route
from multid.mail.transfer import FileBlocks

WINDOW = 200
"""Mails that are in memory at a time."""

_FRESH_OCTETS = 8 << 20
"""Octets of new mails that wait in memory for their first try."""

_FEW_LANES = 100
"""Destinations that are remembered though nothing goes there; a route by MX has one for each domain."""

_TRIES_TO_HANDLE = 3
_SPOOL_RETRY = 5.0
_LOOK_AGAIN = 60.0
"""Seconds between looks at a mail that is parked, at least."""

DOWN = Reply(451, "4.4.1", "The next hop cannot be reached")

Mode = Literal["relay", "hold", "capture"]


@dataclass(frozen=True)
class QueueSettings:
    """What the queue is told of the file; `hostname` is what we are called in EHLO."""

    hostname: str
    bounces: BounceSettings
    routes: tuple[Route, ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    mode: Mode = "relay"


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


class DeliveryQueue:
    """See the module. `find_exchangers` gives the hops of a domain, for routes by MX."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        spool: Spool,
        settings: QueueSettings,
        *,
        new_id: Callable[[], str],
        find_exchangers: Callable[[str, Route], Awaitable[Sequence[Hop]]] | None = None,
        connect: Connect = connect,
        wall: Callable[[], float] = time.time,
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.spool = spool
        self.counters: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.lanes: dict[tuple[Route, str], Lane] = {}
        self._most_lanes = _FEW_LANES
        self.agenda = Agenda()
        self.aside: dict[str, MailState] = {}
        self.unrouted: dict[str, None] = {}
        self.active: dict[str, Handling | None] = {}
        self._reactor = reactor
        self._connect = connect
        self._wall = wall
        self._random = randomness
        self._find_exchangers = find_exchangers
        self._bounces = Bounces(settings.bounces, new_id, wall)
        self._fresh: deque[QueuedMail] = deque()
        self._fresh_octets = 0
        self._brought: dict[str, Lane] = {}
        self._leaving: list[Deferred[None]] = []
        self._pump_call: Any = None
        self._running = False
        self._troubled = 0
        self._quiet: Deferred[None] | None = None

    # Life

    async def start(self) -> None:
        """Take up what lies in the spool, and begin."""
        self._set_new_state()
        self.spool.stored = self._stored
        now = self._reactor.seconds()
        wall = self._wall()
        for id_, state, due in await self.spool.scan():
            if state is MailState.READY:
                self.agenda.put(id_, now + self.settings.retry.wait(due, wall))
            else:
                self.aside[id_] = state
        self._running = True
        self._kick()

    async def stop(self) -> None:
        """Begin nothing more; return when what was being sent has been sent, and its results are in the spool."""
        self._running = False
        self._cancel_pump()
        await gatherResults([*self._leaving, *(lane.stop() for lane in self.lanes.values())])
        if self.active:
            self._quiet = Deferred()
            await self._quiet

    def abort(self) -> None:
        """Break off what is being sent."""
        for lane in self.lanes.values():
            lane.abort()

    def retune(self, settings: QueueSettings) -> None:
        """Go on with other settings; mail that waits follows the new routes."""
        client_tls.forget()
        self.settings = settings
        self._bounces.settings = settings.bounces
        self._set_new_state()
        for key, lane in list(self.lanes.items()):
            if lane.route not in settings.routes:
                del self.lanes[key]
                self._bring(lane.parked)
                lane.parked.clear()
                self._leaving.append(lane.stop())
            lane.hostname = settings.hostname
        self._bring(self.unrouted)
        self.unrouted.clear()
        self._kick()

    def _set_new_state(self) -> None:
        self.spool.new_state = MailState.CAPTURED if self.settings.mode == "capture" else MailState.READY

    # What an operator sees and says

    def state_of(self, mail: QueuedMail) -> str:
        """Return what a mail is waiting for, or that it is being sent."""
        is_active = mail.state is MailState.READY and mail.envelope.id in self.active
        return "active" if is_active else str(mail.state)

    def states(self) -> dict[str, int]:
        """Return how many mails there are in each state."""
        ready = len(self.agenda) + len(self._fresh) + sum(id_ not in self.agenda for id_ in self.unrouted)
        return {"ready": ready, "active": len(self.active), **Counter(str(state) for state in self.aside.values())}

    def oldest(self) -> float | None:
        """Return when the oldest mail that is to be delivered was received, to the millisecond; None without any."""
        ids = (self.agenda.oldest(), min(self.unrouted, default=None), min(self.active, default=None))
        fresh = self._fresh[0].envelope.id if self._fresh else None
        oldest = min((id_ for id_ in (*ids, fresh) if id_ is not None), default=None)
        return None if oldest is None else received_at(oldest)

    def details(self) -> dict[str, Any]:
        """Return the queue and its destinations as plain data; `notes` are what somebody should know."""
        notes = [f"route {lane.name} is down: {lane.error}" for lane in self.lanes.values() if lane.is_down]
        if self.unrouted:
            notes.append(f"{len(self.unrouted)} mails have a recipient without a route")
        if self.settings.mode != "relay":
            notes.append(f"mode {self.settings.mode}: nothing is sent")
        if self._troubled:
            notes.append("results cannot be written to the spool")
        return {
            "mode": self.settings.mode,
            "queue": self.states(),
            "routes": [lane.details() for lane in self.lanes.values()],
            "notes": notes,
        }

    def probe(self) -> None:
        """Try the destinations that are down."""
        for lane in list(self.lanes.values()):
            lane.probe()

    def look_now(self, id_: str) -> None:
        """A mail is to be tried now."""
        self.aside.pop(id_, None)
        self._bring([id_])
        self._kick()

    def set_aside(self, id_: str, state: MailState) -> None:
        """A mail is not to be tried any more; what is being sent of it is sent."""
        self._drop(id_)
        self.aside[id_] = state

    def forget(self, id_: str) -> None:
        """A mail is gone."""
        self._drop(id_)
        self.aside.pop(id_, None)
        handling = self.active.get(id_)
        if handling is not None:
            handling.is_deleted = True

    def _drop(self, id_: str) -> None:
        self.agenda.discard(id_)
        self.unrouted.pop(id_, None)
        for lane in self.lanes.values():
            lane.parked.pop(id_, None)
        self._arrived(self._brought.pop(id_, None))

    # What is due

    def _stored(self, mail: QueuedMail) -> None:
        id_ = mail.envelope.id
        if mail.state is not MailState.READY:
            self.aside[id_] = mail.state
        elif self.settings.mode == "relay" and self._fresh_octets + mail.content.size <= _FRESH_OCTETS:
            self._fresh.append(mail)
            self._fresh_octets += mail.content.size
        else:
            self.agenda.put(id_, self._reactor.seconds())
        self._kick()

    def _bring(self, ids: Iterable[str]) -> None:
        now = self._reactor.seconds()
        for id_ in ids:
            if id_ not in self.active:
                self.agenda.put(id_, now)

    def _kick(self, delay: float = 0.0) -> None:
        """Look at what is due after a delay, or sooner if that is planned already."""
        if not self._running or self.settings.mode != "relay":
            return
        at = self._reactor.seconds() + delay
        if self._pump_call is not None and self._pump_call.active():
            if self._pump_call.getTime() <= at:
                return
            self._pump_call.cancel()
        self._pump_call = self._reactor.callLater(delay, self._pump)

    def _cancel_pump(self) -> None:
        if self._pump_call is not None and self._pump_call.active():
            self._pump_call.cancel()

    def _forget_lanes(self) -> None:
        if len(self.lanes) < self._most_lanes:
            return
        for key, lane in list(self.lanes.items()):
            if lane.is_unused:
                lane.stop()
                del self.lanes[key]
        self._most_lanes = max(_FEW_LANES, 2 * len(self.lanes))

    def _pump(self) -> None:
        self._forget_lanes()
        now = self._reactor.seconds()
        while len(self.active) < WINDOW and not self._troubled:
            id_ = self.agenda.pop(now)
            if id_ is not None:
                self._begin(id_, None)
            if self._fresh:
                mail = self._fresh.popleft()
                self._fresh_octets -= mail.content.size
                self._begin(mail.envelope.id, mail)
            elif id_ is None:
                break
        at = self.agenda.next_at()
        if at is not None and len(self.active) < WINDOW and not self._troubled:
            self._kick(max(0.0, at - now))

    def _begin(self, id_: str, mail: QueuedMail | None) -> None:
        self.active[id_] = None
        handled = Deferred.fromCoroutine(self._handle(id_, mail))
        handled.addErrback(lambda failure: self.log.failure("{mail}: cannot be handled", failure, mail=id_))
        handled.addCallback(lambda _: self._end(id_))

    def _end(self, id_: str) -> None:
        del self.active[id_]
        if self._quiet is not None and not self.active:
            self._quiet.callback(None)
            self._quiet = None
        self._kick()

    # One mail

    async def _handle(self, id_: str, mail: QueuedMail | None) -> None:
        lane = self._brought.pop(id_, None)
        try:
            mail = mail or await self.spool.load(id_)
        except SpoolError as error:
            self.log.error("{mail}: cannot be read: {error}", mail=id_, error=error)
            self.agenda.put(id_, self._reactor.seconds() + _LOOK_AGAIN)
            return
        finally:
            self._arrived(lane)
        if mail is None or mail.state is not MailState.READY:
            return
        handling = self.active[id_] = Handling(mail, self.settings.routes)
        try:
            await self._try(handling)
        except Exception:
            await self._crashed(handling, Failure())
        else:
            self._plan(handling)

    async def _try(self, handling: Handling) -> None:
        tries = []
        for lane, places in self._groups(handling):
            if lane.room:
                tries.append(Deferred.fromCoroutine(self._deliver(handling, lane, places)))
            else:
                tries.append(Deferred.fromCoroutine(self._park(handling, lane, places)))
        # All of them end first: what is being sent to one recipient must not be tried again for another's error.
        for _, result in await DeferredList(tries, consumeErrors=True):
            if isinstance(result, Failure):
                result.raiseException()

    def _groups(self, handling: Handling) -> list[tuple[Lane, list[int]]]:
        """Return the recipients that are due, by the lanes they go to."""
        mail = handling.mail
        now = self._wall()
        groups: dict[int, tuple[Lane, list[int]]] = {}
        # The clock may have been set back since the time was fixed: the earliest is due, for this is its time.
        due = max(now, min((mail.deliveries[place].due for place in mail.open), default=now))
        for place in mail.open:
            if mail.deliveries[place].due > due:
                continue
            address = mail.envelope.recipients[place].address
            route = find_route(handling.routes, mail.envelope.sender, address)
            if route is None:
                handling.unrouted.append(place)
                continue
            lane = self._lane(route, route.destination(address))
            groups.setdefault(id(lane), (lane, []))[1].append(place)
        return list(groups.values())

    def _lane(self, route: Route, destination: str) -> Lane:
        lane = self.lanes.get((route, destination))
        if lane is None:
            hostname, hops = self.settings.hostname, self._hops(route)
            lane = Lane(self._reactor, route, destination, hostname, hops, self._on_room, self._connect)
            self.lanes[route, destination] = lane
        return lane

    def _hops(self, route: Route) -> Callable[[str], Awaitable[Sequence[Hop]]]:
        async def find(destination: str) -> Sequence[Hop]:
            if route.hops or self._find_exchangers is None:
                return route.hops
            return await self._find_exchangers(destination, route)

        return find

    async def _deliver(self, handling: Handling, lane: Lane, places: list[int]) -> None:
        lane.parked.pop(handling.mail.envelope.id, None)
        done: Deferred[Result] = Deferred()
        job = Job(handling.mail, places, lambda _, result: done.callback(result))
        lane.put(job)
        try:
            await self._conclude(handling, lane, places, await done)
        finally:
            job.settled.callback(None)

    async def _conclude(self, handling: Handling, lane: Lane, places: list[int], result: Result) -> None:
        if isinstance(result, Failure):
            result.raiseException()
        elif isinstance(result, Attempt):
            judgement = judge(
                handling.mail,
                result.replies,
                result.remote,
                policy=self.settings.retry,
                now=self._wall(),
                random=self._random,
            )
            if result.passes_dsn:
                judgement.relayed.clear()
            await self._settle(handling, judgement, lane)
        else:
            await self._park(handling, lane, places)

    async def _park(self, handling: Handling, lane: Lane, places: list[int]) -> None:
        """Let recipients wait until their lane has room; when it is down, they may be too old to wait."""
        if lane.is_stopped:
            return
        handling.parked += places
        handling.lanes.append(lane)
        lane.parked[handling.mail.envelope.id] = None
        if lane.is_down:
            judgement = judge_untried(
                handling.mail, places, lane.error or DOWN, policy=self.settings.retry, now=self._wall()
            )
            if judgement.deliveries:
                await self._settle(handling, judgement, lane)

    def _on_room(self, lane: Lane) -> None:
        """Bring mails that wait for a lane, as many as it has room for."""
        if not lane.parked:
            return
        brought = []
        while lane.parked and lane.room:
            id_ = next(iter(lane.parked))
            del lane.parked[id_]
            if id_ in self.agenda and id_ not in self._brought:
                lane.promised += 1
                self._brought[id_] = lane
                brought.append(id_)
        self._bring(brought)
        self._kick()

    def _arrived(self, lane: Lane | None) -> None:
        """A mail that was promised to a lane is there, or will not come: then another may."""
        if lane is not None:
            lane.promised -= 1
            self._reactor.callLater(0, self._on_room, lane)

    # Results

    async def _settle(self, handling: Handling, judgement: Judgement, lane: Lane) -> None:
        """Write a judgement and its reports to the spool."""
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
            expires_at = mail.envelope.received_at + self.settings.retry.expire
            verdict = self._bounces.tell(Occasion(mail, judgement, content, expires_at))
        self._count(mail, judgement, lane)
        update = self._update(handling, judgement, verdict)
        await self._write(update)
        if update.delete:
            self.aside.pop(update.id, None)  # it may have been held while it was being sent

    def _update(self, handling: Handling, judgement: Judgement, verdict: Verdict) -> Update:
        mail = handling.mail
        id_ = mail.envelope.id
        if verdict.dead:
            # What nobody can be told is noted; the mail is dead once no recipient is open.
            handling.mail = mail = replace(mail, note=verdict.dead)
        if mail.open:
            state = MailState.READY if verdict.dead else None
            return Update(id_, judgement.deliveries, state, mail.note, reports=verdict.reports)
        if not mail.note:
            return Update(id_, reports=verdict.reports, delete=True)
        self.aside[id_] = MailState.DEAD
        self.counters["dead"] += 1
        self.log.error("{mail}: dead: {note}", mail=id_, note=mail.note)
        return Update(id_, judgement.deliveries, MailState.DEAD, mail.note, reports=verdict.reports)

    async def _write(self, update: Update) -> None:
        """Write an update, however long it takes: what it says has happened."""
        is_troubled = False
        try:
            while True:
                try:
                    await self.spool.update(update)
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

    async def _beginning(self, content: Content) -> bytes:
        if content.path is None:
            return content.data or b""
        async with FileBlocks(self._reactor, content.path) as blocks:
            return (await blocks.read())[: MAX_RETURNED + 1]

    def _count(self, mail: QueuedMail, judgement: Judgement, lane: Lane) -> None:
        for place, delivery in judgement.deliveries.items():
            event = {DeliveryState.SENT: "sent", DeliveryState.FAILED: "failed", DeliveryState.OPEN: "deferred"}
            what = event[delivery.state]
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

    async def _crashed(self, handling: Handling, failure: Failure) -> None:
        """An error of our own must not stop the others, nor come back for ever."""
        mail = handling.mail
        id_ = mail.envelope.id
        crashes = mail.crashes + 1
        self.log.failure("{mail}: handling it failed ({crashes})", failure, mail=id_, crashes=crashes)
        due = self._wall() + self.settings.retry.delay(crashes, self._random)
        update = Update(id_, due=due, crashes=crashes)
        if crashes >= _TRIES_TO_HANDLE:
            update = replace(
                update, state=MailState.QUARANTINED, note=f"handling it failed: {failure.getErrorMessage()}"
            )
            self.aside[id_] = MailState.QUARANTINED
            self.counters["quarantined"] += 1
        else:
            self.agenda.put(id_, self._reactor.seconds() + due - self._wall())
        await self._write(update)

    def _plan(self, handling: Handling) -> None:
        """Say when to look at a mail again."""
        mail = handling.mail
        id_ = mail.envelope.id
        if not mail.open or handling.is_deleted or id_ in self.aside:
            return
        now = self._wall()
        retry = self.settings.retry
        waits = [
            retry.wait(mail.deliveries[place].due, now)
            for place in mail.open
            if place not in handling.parked + handling.unrouted
        ]
        has_moved = handling.unrouted and handling.routes is not self.settings.routes
        if has_moved or any(id_ not in lane.parked for lane in handling.lanes):
            # What it was to wait for came while other recipients were tried.
            waits.append(0.0)
        elif handling.parked:
            age = now - mail.envelope.received_at
            deadlines = [retry.expire - age] + ([retry.warn - age] if retry.warn is not None else [])
            waits.append(max(_LOOK_AGAIN, min((left for left in deadlines if left > 0), default=0.0)))
        if handling.unrouted and not has_moved:
            self.unrouted[id_] = None
        if waits:
            self.agenda.put(id_, self._reactor.seconds() + min(waits))
