"""The destinations that mails go to, each with its lane, and the mails that are brought to one that has room.

A route by MX has a destination for each domain; those that nobody would miss are forgotten when they become many. A
mail that a lane has no room for is parked there by its id. Where there is room again, as many are brought as it has
room for: they come before all that is due, and are promised to the lane until they are there, or will not come.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from multid.mail.agenda import Agenda
from multid.mail.lane import Connect, Lane
from multid.mail.route import Hop, Route

_FIRST = float("-inf")
"""The time of a mail that is brought: a lane with room must not wait until the whole of a long queue was looked at."""

_FEW = 100
"""Destinations that are remembered though nothing goes there."""

FindExchangers = Callable[[str, Route], Awaitable[Sequence[Hop]]]


class Destinations:
    """See the module; `on_brought` is called when the time of some mails in the agenda has come."""

    def __init__(
        self,
        reactor: Any,
        agenda: Agenda,
        connect: Connect,
        find_exchangers: FindExchangers | None,
        on_brought: Callable[[], None],
    ) -> None:
        self.lanes: dict[tuple[Route, str], Lane] = {}
        self._reactor = reactor
        self._agenda = agenda
        self._connect = connect
        self._find_exchangers = find_exchangers
        self._on_brought = on_brought
        self._most = _FEW
        self._promised: dict[str, Lane] = {}
        self._leaving: list[Deferred[None]] = []

    def lane(self, route: Route, destination: str, hostname: str) -> Lane:
        """Return the lane of a destination."""
        lane = self.lanes.get((route, destination))
        if lane is None:
            lane = Lane(self._reactor, route, destination, hostname, self._hops(route), self._on_room, self._connect)
            self.lanes[route, destination] = lane
        return lane

    def _hops(self, route: Route) -> Callable[[str], Awaitable[Sequence[Hop]]]:
        async def find(destination: str) -> Sequence[Hop]:
            if route.hops or self._find_exchangers is None:
                return route.hops
            return await self._find_exchangers(destination, route)

        return find

    def retune(self, routes: Iterable[Route], hostname: str) -> list[str]:
        """Let the lanes end whose route is no more; return the mails that were parked there."""
        parked: list[str] = []
        for key, lane in list(self.lanes.items()):
            if lane.route not in routes:
                del self.lanes[key]
                parked += lane.parked
                lane.parked.clear()
                self._leaving.append(lane.stop())
            lane.hostname = hostname
        return parked

    def forget_unused(self) -> None:
        """Forget, when they have become many, the destinations that nothing goes to."""
        if len(self.lanes) < self._most:
            return
        for key, lane in list(self.lanes.items()):
            if lane.is_unused:
                lane.stop()
                del self.lanes[key]
        self._most = max(_FEW, 2 * len(self.lanes))

    def probe(self) -> None:
        """Try those that are down."""
        for lane in list(self.lanes.values()):
            lane.probe()

    def stop(self) -> list[Deferred[None]]:
        """Let what is being sent end; each fires when a lane has no connection left."""
        return [*self._leaving, *(lane.stop() for lane in self.lanes.values())]

    def abort(self) -> None:
        """Break off what is being sent."""
        for lane in self.lanes.values():
            lane.abort()

    # Mails that are brought

    def _on_room(self, lane: Lane) -> None:
        if not lane.parked:
            return
        while lane.parked and lane.room:
            id_ = next(iter(lane.parked))
            del lane.parked[id_]
            # What is in no agenda is being handled, and comes back when that has ended.
            if id_ in self._agenda and id_ not in self._promised:
                lane.promised += 1
                self._promised[id_] = lane
                self._agenda.put(id_, _FIRST)
        self._on_brought()

    def arrival(self, id_: str) -> Callable[[], None]:
        """A mail is here; return what is to be called when it will take no room that was promised."""
        lane = self._promised.pop(id_, None)
        return lambda: self._keep(lane)

    def drop(self, id_: str) -> None:
        """A mail is to be brought nowhere."""
        for lane in self.lanes.values():
            lane.parked.pop(id_, None)
        self._keep(self._promised.pop(id_, None))

    def _keep(self, lane: Lane | None) -> None:
        """A promise to a lane is no more; if nobody came, there is room for another."""
        if lane is not None:
            lane.promised -= 1
            self._reactor.callLater(0, self._on_room, lane)
