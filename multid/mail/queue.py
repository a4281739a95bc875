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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.mail import client_tls
from multid.mail.bounces import Bounces, BounceSettings
from multid.mail.destinations import Destinations, FindExchangers
from multid.mail.envelope import received_at
from multid.mail.interface import Spool, SpoolError
from multid.mail.judgement import judge, judge_untried
from multid.mail.lane import Attempt, Connect, Job, Lane, Result
from multid.mail.outbound import connect
from multid.mail.queued import MailState, QueuedMail
from multid.mail.reply import Reply
from multid.mail.results import Handling, Results
from multid.mail.retry import RetryPolicy
from multid.mail.route import Route, find_route
from multid.mail.waiting import Waiting

WINDOW = 200
"""Mails that are in memory at a time."""

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
        find_exchangers: FindExchangers | None = None,
        connect: Connect = connect,
        wall: Callable[[], float] = time.time,
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.spool = spool
        self.waiting = Waiting()
        self.destinations = Destinations(reactor, self.waiting.agenda, connect, find_exchangers, self._kick)
        self.results = Results(reactor, spool, Bounces(settings.bounces, new_id, wall), self.waiting.aside, wall)
        self.active: dict[str, Handling | None] = {}
        self._reactor = reactor
        self._wall = wall
        self._random = randomness
        self._pump_call: Any = None
        self._running = False
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
                self.waiting.agenda.put(id_, now + self.settings.retry.wait(due, wall))
            else:
                self.waiting.aside[id_] = state
        self._running = True
        self._kick()

    async def stop(self) -> None:
        """Begin nothing more; return when what was being sent has been sent, and its results are in the spool."""
        self._running = False
        self._cancel_pump()
        await gatherResults(self.destinations.stop())
        if self.active:
            self._quiet = Deferred()
            await self._quiet

    def abort(self) -> None:
        """Break off what is being sent."""
        self.destinations.abort()

    def retune(self, settings: QueueSettings) -> None:
        """Go on with other settings; mail that waits follows the new routes."""
        client_tls.forget()
        self.settings = settings
        self.results.bounces.settings = settings.bounces
        self._set_new_state()
        self._bring(self.destinations.retune(settings.routes, settings.hostname))
        self._bring(self.waiting.unrouted)
        self.waiting.unrouted.clear()
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
        return {"active": len(self.active), **self.waiting.counts()}

    def oldest(self) -> float | None:
        """Return when the oldest mail that is to be delivered was received, to the millisecond; None without any."""
        ids = (self.waiting.oldest(), min(self.active, default=None))
        oldest = min((id_ for id_ in ids if id_ is not None), default=None)
        return None if oldest is None else received_at(oldest)

    def details(self) -> dict[str, Any]:
        """Return the queue and its destinations as plain data; `notes` are what somebody should know."""
        lanes = self.destinations.lanes.values()
        notes = [f"route {lane.name} is down: {lane.error}" for lane in lanes if lane.is_down]
        if unrouted := len(self.waiting.unrouted):
            notes.append(f"{unrouted} {'mail has' if unrouted == 1 else 'mails have'} a recipient without a route")
        if self.settings.mode != "relay":
            notes.append(f"mode {self.settings.mode}: nothing is sent")
        if self.results.is_trouble:
            notes.append("results cannot be written to the spool")
        return {
            "mode": self.settings.mode,
            "queue": self.states(),
            "routes": [lane.details() for lane in lanes],
            "notes": notes,
        }

    def probe(self) -> None:
        """Try the destinations that are down."""
        self.destinations.probe()

    def look_now(self, id_: str) -> None:
        """A mail is to be tried now."""
        self.waiting.aside.pop(id_, None)
        self._bring([id_])
        self._kick()

    def set_aside(self, id_: str, state: MailState) -> None:
        """A mail is not to be tried any more; what is being sent of it is sent."""
        self._drop(id_)
        self.waiting.aside[id_] = state

    def forget(self, id_: str) -> None:
        """A mail is gone."""
        self._drop(id_)
        self.waiting.aside.pop(id_, None)
        handling = self.active.get(id_)
        if handling is not None:
            handling.is_deleted = True

    def _drop(self, id_: str) -> None:
        self.waiting.drop(id_)
        self.destinations.drop(id_)

    # What is due

    def _stored(self, mail: QueuedMail) -> None:
        id_ = mail.envelope.id
        if mail.state is not MailState.READY:
            self.waiting.aside[id_] = mail.state
        elif self.settings.mode != "relay" or not self.waiting.put_fresh(mail):
            self.waiting.agenda.put(id_, self._reactor.seconds())
        self._kick()

    def _bring(self, ids: Iterable[str]) -> None:
        now = self._reactor.seconds()
        for id_ in ids:
            if not (id_ in self.active or self.waiting.is_fresh(id_)):
                self.waiting.agenda.put(id_, now)

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

    def _pump(self) -> None:
        self.destinations.forget_unused()
        agenda, now = self.waiting.agenda, self._reactor.seconds()
        while self._has_room:
            id_, fresh = agenda.pop(now), self.waiting.pop_fresh()
            if id_ is not None:
                self._begin(id_, None)
            if fresh is not None:
                self._begin(fresh.envelope.id, fresh)
            if id_ is None and fresh is None:
                break
        at = agenda.next_at()
        if at is not None and self._has_room:
            self._kick(max(0.0, at - now))

    @property
    def _has_room(self) -> bool:
        return len(self.active) < WINDOW and not self.results.is_trouble

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
        keep_promise = self.destinations.arrival(id_)
        try:
            mail = mail or await self.spool.load(id_)
        except SpoolError as error:
            self.log.error("{mail}: cannot be read: {error}", mail=id_, error=error)
            self.waiting.agenda.put(id_, self._reactor.seconds() + _LOOK_AGAIN)
            return
        finally:
            keep_promise()
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
            lane = self.destinations.lane(route, route.destination(address), self.settings.hostname)
            groups.setdefault(id(lane), (lane, []))[1].append(place)
        return list(groups.values())

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
            await self.results.settle(handling, judgement, lane, self.settings.retry.expire)
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
                await self.results.settle(handling, judgement, lane, self.settings.retry.expire)

    async def _crashed(self, handling: Handling, failure: Failure) -> None:
        delay = self.settings.retry.delay(handling.mail.crashes + 1, self._random)
        self.waiting.agenda.put(handling.mail.envelope.id, self._reactor.seconds() + delay)
        await self.results.crashed(handling, failure, self._wall() + delay)

    def _plan(self, handling: Handling) -> None:
        """Say when to look at a mail again."""
        mail = handling.mail
        id_ = mail.envelope.id
        if not mail.open or handling.is_deleted or id_ in self.waiting.aside:
            for lane in handling.lanes:
                lane.parked.pop(id_, None)
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
            self.waiting.unrouted[id_] = None
        if waits:
            self.waiting.agenda.put(id_, self._reactor.seconds() + min(waits))
