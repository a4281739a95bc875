"""One destination: its connections, the few mails that wait for one, and what is known of its state.

A destination is a route, or, of a route by MX, a domain. Mails go over at most `route.connections` connections, each
of which carries many and is kept for `IDLE` seconds without any. A lane takes only as many mails as it can serve soon
(`room`), for each holds memory; the queue parks the others, by id alone, and is told (`on_room`) when to bring them.

What fails before a mail is offered is the destination's (`HopError`): with no connection left the breaker opens, and
the mails that wait are given back. While it is open there is no room, and then for one mail, until a connection is
there again. A connection that turns out to have died between two mails costs neither of them a try.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from multid.mail.breaker import Breaker
from multid.mail.outbound import Connection, HopError, connect
from multid.mail.queued import QueuedMail
from multid.mail.reply import Reply
from multid.mail.route import Hop, Login, Route

IDLE = 5.0
"""Seconds a connection is kept for the next mail."""

_PAUSE = 5.0
"""Seconds without new connections after the hop refused one but serves others."""


_SHUTTING_DOWN = HopError(Reply(451, "4.3.2", "Shutting down"))


@dataclass(frozen=True)
class Attempt:
    """What one try gave: a reply for each recipient tried, whose it is, and whether it takes over DSN requests.

    `tls` is the protocol version, or empty.
    """

    replies: dict[int, Reply]
    remote: str = ""
    tls: str = ""
    passes_dsn: bool = False


Connect = Callable[[Any, Hop, str, Login | None], Awaitable[Connection]]
Result = Attempt | HopError | Failure
"""A try, or what the destination's state is instead, or an error of our own."""


@dataclass
class Job:
    """A mail for some of its recipients; `done` is called once, and `settled` fires when what it said is durable."""

    mail: QueuedMail
    places: Sequence[int]
    done: Callable[["Job", Result], None]
    settled: Deferred[None] = field(default_factory=Deferred)


@dataclass
class Lane:
    """See the module; `parked` are the ids that wait for room, `promised` is how many the queue is bringing."""

    log = Logger()

    reactor: Any
    route: Route
    destination: str
    hostname: str
    find_hops: Callable[[str], Awaitable[Sequence[Hop]]]
    on_room: Callable[["Lane"], None]
    connect: Connect = connect
    parked: dict[str, None] = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker)
    error: Reply | None = None
    promised: int = 0
    delivered: int = 0

    def __post_init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._idle: list[Deferred[None]] = []
        self._pacing: list[Deferred[None]] = []
        self._open = 0
        self._opening: set[Deferred[Connection]] = set()
        self._connections: set[Connection] = set()
        self._working: set[Connection] = set()
        self._next_start = float("-inf")
        self._no_more_until = float("-inf")
        self._alarm: Any = None
        self._stopped: Deferred[None] | None = None

    @property
    def name(self) -> str:
        """What an operator knows it as."""
        return f"{self.route.name} {self.destination}".rstrip()

    @property
    def room(self) -> int:
        """How many mails it takes now."""
        if self._stopped is not None or self.breaker.is_open(self.reactor.seconds()):
            return 0
        if self.breaker.failures:
            return 0 if self._open or self.promised else 1
        return max(0, 2 * self.route.connections - len(self._waiting) - len(self._working) - self.promised)

    @property
    def is_down(self) -> bool:
        """Whether no connection could be had when it was last tried."""
        return self.breaker.failures > 0

    @property
    def is_stopped(self) -> bool:
        """Whether it takes no mail any more."""
        return self._stopped is not None

    @property
    def is_unused(self) -> bool:
        """Whether nobody would miss it: a new one would do the same."""
        now = self.reactor.seconds()
        waits = self._next_start > now or self.breaker.is_open(now)
        return not (self._open or self._waiting or self.parked or self.promised or waits)

    def details(self) -> dict[str, Any]:
        """Return its state as plain data."""
        return {
            "route": self.name,
            "state": "down" if self.is_down else "up",
            "error": str(self.error) if self.is_down and self.error else "",
            "connections": self._open,
            "parked": len(self.parked),
            "delivered": self.delivered,
        }

    def put(self, job: Job) -> None:
        """Take a mail, which there is room for."""
        self._waiting.append(job)
        if self._idle:
            self._idle.pop().callback(None)
        else:
            self._open_more()

    def probe(self) -> None:
        """Try now what has failed before."""
        self.breaker.reset()
        self._no_more_until = float("-inf")
        self.on_room(self)

    def stop(self) -> Deferred[None]:
        """Finish what is being sent, give back what waits; fires when no connection is left."""
        self._stopped = Deferred()
        self._quiet_alarm()
        self._give_back(_SHUTTING_DOWN)
        for opening in list(self._opening):
            opening.cancel()
        stopped = self._stopped
        for waiter in [*self._idle, *self._pacing]:
            waiter.callback(None)
        self._ended()
        return stopped

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self._connections):
            connection.abort()

    def _open_more(self) -> None:
        while (
            len(self._waiting) > self._open - len(self._working)
            and self._open < self.route.connections
            and self.reactor.seconds() >= self._no_more_until
            and not (self.breaker.failures and self._open)
        ):
            self._open += 1
            Deferred.fromCoroutine(self._serve()).addErrback(self._crashed)

    async def _serve(self) -> None:
        opening = Deferred.fromCoroutine(self._connect())
        self._opening.add(opening)
        try:
            connection = await opening
        except CancelledError:
            self._open -= 1
        except HopError as error:
            self._open -= 1
            self._failed(error)
        except BaseException:
            self._open -= 1
            raise
        else:
            await self._use(connection)
        finally:
            self._opening.discard(opening)
        self._ended()

    async def _use(self, connection: Connection) -> None:
        self.breaker.succeeded()
        self.error = None
        self.on_room(self)
        self._connections.add(connection)
        refusal: HopError | None = None
        try:
            refusal = await self._work(connection)
            # Another connection in its place would not wait for the last result of this one.
            await connection.settled()
        finally:
            self._open -= 1
            self._working.discard(connection)
            if refusal is not None:
                self._failed(refusal)
            await connection.quit()
            self._connections.discard(connection)

    async def _connect(self) -> Connection:
        error = HopError(Reply(451, "4.4.4", "The destination has no mail server"))
        for hop in await self.find_hops(self.destination):
            try:
                return await self.connect(self.reactor, hop, self.hostname, self.route.login)
            except HopError as failed:
                error = failed
            if self._stopped is not None:
                raise CancelledError
        raise error

    async def _work(self, connection: Connection) -> HopError | None:
        """Send mails while there are any; return why the destination takes none, if one shows that."""
        while connection.is_usable and (job := await self._next(connection)):
            self._working.add(connection)
            await self._pace()
            if self._stopped is not None:
                job.done(job, _SHUTTING_DOWN)
                break
            result: Result
            try:
                replies = await connection.deliver(job.mail, job.places)
                result = Attempt(replies, str(connection.hop), connection.tls, "DSN" in connection.extensions)
                self.delivered += 1
            except HopError as error:
                if connection.is_stale:
                    self._waiting.appendleft(job)
                    break
                job.done(job, error)
                return error
            except Exception:
                result = Failure()
            self._working.discard(connection)
            connection.before_content = job.settled
            job.done(job, result)
            self.on_room(self)
        return None

    async def _next(self, connection: Connection) -> Job | None:
        if not self._waiting and self._stopped is None:
            waiter: Deferred[None] = Deferred()
            self._idle.append(waiter)
            timer = self.reactor.callLater(IDLE, self._expire, waiter)
            connection.on_lost = lambda: self._expire(waiter)
            await waiter
            if waiter in self._idle:
                self._idle.remove(waiter)
            if timer.active():
                timer.cancel()
        return self._waiting.popleft() if self._waiting and connection.is_usable else None

    def _expire(self, waiter: Deferred[None]) -> None:
        if not waiter.called:
            waiter.callback(None)

    async def _pace(self) -> None:
        if self.route.rate is None:
            return
        now = self.reactor.seconds()
        start = max(now, self._next_start)
        self._next_start = start + 1 / self.route.rate
        if start > now:
            turn: Deferred[None] = Deferred()
            self._pacing.append(turn)
            timer = self.reactor.callLater(start - now, turn.callback, None)
            await turn
            self._pacing.remove(turn)
            if timer.active():
                timer.cancel()

    def _failed(self, error: HopError) -> None:
        if error.reply.is_permanent:
            self._give_back(error)
            self.on_room(self)
            return
        self.error = error.reply
        now = self.reactor.seconds()
        if self._open:
            self._no_more_until = now + _PAUSE
            self._wake_in(_PAUSE)
            return
        self.breaker.failed(now)
        delay = self.breaker.opens_until - now
        self.log.warn("route {route}: {error}; tried again in {delay:g} s", route=self.name, error=error, delay=delay)
        self._give_back(error)
        self._wake_in(delay)

    def _wake_in(self, delay: float) -> None:
        if self._stopped is None:
            self._quiet_alarm()
            self._alarm = self.reactor.callLater(delay, self._wake)

    def _wake(self) -> None:
        self._open_more()
        self.on_room(self)

    def _quiet_alarm(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()

    def _give_back(self, error: HopError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            is_final = error.reply.is_permanent
            job.done(job, Attempt(dict.fromkeys(job.places, error.reply)) if is_final else error)

    def _ended(self) -> None:
        if self._stopped is None:
            self._open_more()
            return
        self._give_back(_SHUTTING_DOWN)
        if not self._open and not self._stopped.called:
            self._stopped.callback(None)

    def _crashed(self, failure: Failure) -> None:
        self.log.failure("route {route}: an error of our own", failure, route=self.name)
        self._failed(HopError(Reply(451, "4.3.0", "Local error")))
        self._ended()
