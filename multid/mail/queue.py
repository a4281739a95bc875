"""The delivery queue: which mail is tried when, and what comes of it.

Of a mail that waits it knows the id and when to look at it next, no more (`multid.mail.waiting`). When that time comes
it loads the mail and has it tried (`multid.mail.tries`); a new mail is tried without being loaded. At most `WINDOW`
mails are in memory. While a result waits for the spool to take it (`multid.mail.results`), nothing new is begun. In
modes `hold` and `capture` nothing is tried. `stop` lets what is being sent end, so that no mail is sent twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from multid.mail import client_tls
from multid.mail.bounces import Bounces
from multid.mail.destinations import Destinations, FindExchangers
from multid.mail.envelope import received_at
from multid.mail.interface import Spool, SpoolError
from multid.mail.lane import Connect
from multid.mail.outbound import connect
from multid.mail.queued import MailState, QueuedMail
from multid.mail.results import Handling, Results
from multid.mail.tries import LOOK_AGAIN, QueueSettings, Tries
from multid.mail.waiting import Waiting

WINDOW = 200
"""Mails that are in memory at a time."""

LOADING = 20
"""Mails that are read at a time: one that a lane is waiting for is not read after many that are only looked at."""


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
        self.tries = Tries(
            reactor,
            settings,
            waiting=self.waiting,
            destinations=self.destinations,
            results=self.results,
            wall=wall,
            randomness=randomness,
        )
        self.active: dict[str, Handling | None] = {}
        self._reactor = reactor
        self._wall = wall
        self._loading = 0
        self._pump_call: Any = None
        self._running = False
        self._quiet: Deferred[None] | None = None

    # Life

    def start(self, found: Iterable[tuple[str, MailState, float]]) -> None:
        """Take up what lies in the spool, as its `scan` told it, and begin."""
        self._set_new_state()
        self.spool.stored = self._stored
        now = self._reactor.seconds()
        wall = self._wall()
        for id_, state, due in found:
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
        self.settings = self.tries.settings = settings
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
            id_ = agenda.pop(now) if self._loading < LOADING else None
            fresh = self.waiting.pop_fresh()
            if id_ is not None:
                self._begin(id_, None)
            if fresh is not None:
                self._begin(fresh.envelope.id, fresh)
            if id_ is None and fresh is None:
                break
        at = agenda.next_at()
        if at is not None and self._has_room and self._loading < LOADING:
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
            mail = mail or await self._load(id_)
        except SpoolError as error:
            self.log.error("{mail}: cannot be read: {error}", mail=id_, error=error)
            self.waiting.agenda.put(id_, self._reactor.seconds() + LOOK_AGAIN)
            return
        finally:
            keep_promise()
        if mail is None or mail.state is not MailState.READY:
            return
        handling = self.active[id_] = Handling(mail, self.settings.routes)
        await self.tries.handle(handling)

    async def _load(self, id_: str) -> QueuedMail | None:
        self._loading += 1
        try:
            return await self.spool.load(id_)
        finally:
            self._loading -= 1
            self._kick()
