"""One mail's turn: each recipient that is due goes to its lane, and then it is said when to look at the mail again.

Routes are found anew each time, so queued mail follows the routes of today. A result is settled as it comes
(`multid.mail.results`). A mail that a lane has no room for is parked there by its id; it is looked at again when there
is room, and to be given up when it is too old. A mail without a route waits for routes. A mail whose handling raises is
tried again later, and quarantined the third time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from multid.mail.bounces import BounceSettings
from multid.mail.destinations import Destinations
from multid.mail.judgement import judge, judge_untried
from multid.mail.lane import Attempt, Job, Lane, Result
from multid.mail.reply import Reply
from multid.mail.results import Handling, Results
from multid.mail.retry import RetryPolicy
from multid.mail.route import Route, find_route
from multid.mail.waiting import Waiting

LOOK_AGAIN = 60.0
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


class Tries:
    """See the module; `settings` are those of the queue."""

    def __init__(
        self,
        reactor: Any,
        settings: QueueSettings,
        *,
        waiting: Waiting,
        destinations: Destinations,
        results: Results,
        wall: Callable[[], float],
        randomness: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._reactor = reactor
        self._waiting = waiting
        self._destinations = destinations
        self._results = results
        self._wall = wall
        self._random = randomness

    async def handle(self, handling: Handling) -> None:
        """Try a mail, and say when to look at it again."""
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
            lane = self._destinations.lane(route, route.destination(address), self.settings.hostname)
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
            await self._results.settle(handling, judgement, lane, self.settings.retry.expire)
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
                await self._results.settle(handling, judgement, lane, self.settings.retry.expire)

    async def _crashed(self, handling: Handling, failure: Failure) -> None:
        id_ = handling.mail.envelope.id
        delay = self.settings.retry.delay(handling.mail.crashes + 1, self._random)
        self._waiting.agenda.put(id_, self._reactor.seconds() + delay)
        await self._results.crashed(handling, failure, self._wall() + delay)
        if id_ in self._waiting.aside:
            self._waiting.agenda.discard(id_)

    def _plan(self, handling: Handling) -> None:
        """Say when to look at a mail again."""
        mail = handling.mail
        id_ = mail.envelope.id
        if not mail.open or handling.is_deleted or id_ in self._waiting.aside:
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
            waits.append(max(LOOK_AGAIN, min((left for left in deadlines if left > 0), default=0.0)))
        if handling.unrouted and not has_moved:
            self._waiting.unrouted[id_] = None
        if waits:
            self._waiting.agenda.put(id_, self._reactor.seconds() + min(waits))
