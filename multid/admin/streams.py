"""Answers that go on: the status page's content as server-sent events, and the events of one service.

A peer that does not read what is sent to it misses some of it, and is told how much; its memory here is bounded. While
nothing happens an empty line goes out now and then, so that neither side takes the connection for dead.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from multid.admin import page
from multid.log.format import as_dict
from multid.net.follower import Follower, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVERY = 2.0
"""Seconds between two pictures of the status."""
QUIET = 15
"""Seconds between two signs of life."""
MOST_PENDING = 256 * 1024
MOST_VIEWERS = 32


class Stream:
    """One answer without an end, and what is to be done when the peer has left."""

    def __init__(self, site: Any, request: Any, left: Callable[[], None]) -> None:
        self._site, self._request, self._left = site, request, left
        site.streams.add(self)
        request.notifyFinish().addBoth(self._gone)

    @property
    def is_behind(self) -> bool:
        """Whether the peer does not read what it was sent."""
        return bool(self._request.channel.transport.pending > MOST_PENDING)

    def write(self, data: bytes) -> None:
        """Send something, unless the peer has left."""
        if not self._request.is_gone:
            self._request.write(data)

    def end(self) -> None:
        """Finish the answer."""
        self._request.finish()

    def _gone(self, _: object) -> None:
        self._request.is_gone = True
        self._site.streams.discard(self)
        self._left()


class Live:
    """The status page for all who look at it: drawn once every `EVERY` seconds while anybody does."""

    log = Logger()

    def __init__(self, site: Any) -> None:
        self._site = site
        self._viewers: set[Stream] = set()
        self._next: Any = None

    @property
    def is_full(self) -> bool:
        """Whether as many look on as may."""
        return len(self._viewers) >= MOST_VIEWERS

    async def add(self, request: Any) -> None:
        """Show the page to one more."""
        request.setHeader("Content-Type", "text/event-stream")
        viewer = Stream(self._site, request, lambda: self._viewers.discard(viewer))
        self._viewers.add(viewer)
        viewer.write(await self._picture())
        if self._next is None:
            self._schedule()

    def _schedule(self) -> None:
        self._next = self._site.reactor.callLater(EVERY, self._show)

    def _show(self) -> None:
        if self._viewers:
            Deferred.fromCoroutine(self._draw()).addErrback(self._failed)
        else:
            self._next = None

    async def _draw(self) -> None:
        picture = await self._picture()
        for viewer in list(self._viewers):
            if not viewer.is_behind:
                viewer.write(picture)
        self._schedule()

    def _failed(self, failure: Any) -> None:
        """Draw nothing more; whoever looks comes again by himself."""
        self.log.failure("a defect in multid; please report it", failure=failure)
        self._next = None
        for viewer in list(self._viewers):
            viewer.end()

    async def _picture(self) -> bytes:
        lines = (await page.content(self._site.admin)).splitlines()
        return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


class Follow:
    """Those events of one service, by name, that are wanted, also when a reload begins it anew: its own and its log."""

    def __init__(self, site: Any, request: Any, name: str, wanted: Wanted) -> None:
        self._daemon = site.admin.daemon
        self._reactor = site.reactor
        self._name = name
        self._service: Any = None
        self._follower = Follower(self._happened, wanted)
        self._missed = 0
        self._next: Any = None
        self._looks = 0
        self._stream = Stream(site, request, self._end)
        self._leave_log = self._daemon.logbook.follow(self._logged)
        request.setHeader("Content-Type", "application/x-ndjson")

    def begin(self) -> None:
        """Show events from now on."""
        self._next = self._reactor.callLater(1, self.begin)
        service = self._daemon.namedServices.get(self._name)
        if service is not self._service:
            self._leave_service()
            self._service = service
            if service is not None:
                service.followers.append(self._follower)
        if self._looks % QUIET == 0:
            self._stream.write(b"\n")
        self._looks += 1

    def _happened(self, event: str, values: Mapping[str, Any]) -> None:
        self._write({"time": time.time(), "event": event, **values})

    def _logged(self, event: Mapping[str, Any]) -> None:
        if event.get("service") == self._name:
            values = {**as_dict(event), "time": event["log_time"], "event": "log"}
            if self._follower.wanted.admits(values):
                self._write(values)

    def _write(self, values: Mapping[str, Any]) -> None:
        if self._stream.is_behind:
            self._missed += 1
            return
        if self._missed:
            values = {**values, "missed": self._missed}
            self._missed = 0
        self._stream.write(json.dumps(values).encode() + b"\n")

    def _leave_service(self) -> None:
        if self._service is not None and self._follower in self._service.followers:
            self._service.followers.remove(self._follower)

    def _end(self) -> None:
        self._next.cancel()
        self._leave_log()
        self._leave_service()
