"""HTTP over the admin socket and over `admin.http`: who may ask what, and how it is answered.

Over TCP there is nothing but reading, for a small share of the time (see `multid.admin.share`). Over the UNIX socket
whoever may connect reads as well, and root and the user of the daemon may change things, by the credentials that the
kernel tells of the peer. Answers are JSON unless a path says otherwise; an error is `{"error": "..."}`. Nothing is ever
cached, framed, or loaded from elsewhere.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import server
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource

from multid.admin.routes import ROUTES, Answers, Refusal
from multid.admin.share import Share
from multid.admin.streams import Live

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from multid.admin.service import Admin

_LARGEST_BODY = 1 << 20
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "multid",
    "X-Content-Type-Options": "nosniff",
}


class Channel(HTTPChannel):
    """One connection of the admin service."""

    factory: Site
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        with self.factory.share.spending():
            super().dataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        """HTTPChannel API."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a Content-Length of more digits than Python makes a number of
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.loseConnection()
            return False

    def idle(self) -> None:
        """Transport API: nothing was said for a while."""
        self.loseConnection()

    def check(self, now: float) -> None:
        """Transport API: HTTP has its own timeouts."""

    def drain(self) -> None:
        """Transport API: the daemon ends, after what is being answered."""
        self.persistent = False
        if not self.requests:
            self.loseConnection()


class Request(server.Request):
    """A request, with the rights of its peer."""

    channel: Any
    site: Any
    content: Any
    postpath: list[bytes]
    args: dict[bytes, list[bytes]]
    is_gone = False
    """Whether the peer has left, so that nothing may be written."""
    _octets = 0

    def gotLength(self, length: int | None) -> None:
        """Request API: a body is small, or it is not read at all."""
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        """Request API."""
        self._octets += len(data)
        if self._octets > _LARGEST_BODY:
            self.channel.transport.abortConnection()
        else:
            super().handleContentChunk(data)

    def connectionLost(self, reason: Any) -> None:
        """Request API."""
        self.is_gone = True
        super().connectionLost(reason)

    @property
    def is_local(self) -> bool:
        """Whether it came over the admin socket."""
        return bool(self.channel.transport.socket.getsockname() == self.site.admin.path)

    @property
    def may_change(self) -> bool:
        """Whether the peer is root or the daemon's own user."""
        if not self.is_local:
            return False
        credentials = self.channel.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _pid, uid, _gid = struct.unpack("3i", credentials)
        return uid in {0, os.geteuid()}

    def arguments(self) -> dict[str, str]:
        """Return the arguments of the query; of one given twice the last."""
        return {_text(name): _text(values[-1]) for name, values in self.args.items()}

    def body(self) -> dict[str, Any]:
        """Return the JSON object that was sent, empty where nothing was; Refusal where it is something else."""
        data = self.content.read()
        try:
            value = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Refusal(400, "the body must be a JSON object")
        return value


class Site(server.Site):
    """The one site there is."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self.streams: set[Any] = set()
        self.live = Live(self)
        self.share = Share(admin.runtime.reactor)
        super().__init__(_Root(Answers(self)), requestFactory=Request, reactor=admin.runtime.reactor, timeout=60)
        self.displayTracebacks = False

    def channel(self) -> Any:
        """Return the protocol of a new connection."""
        channel: Any = Channel()
        channel.factory = channel.site = self
        channel.requestFactory = self.requestFactory
        channel.timeOut = self.timeOut
        channel.callLater = self.reactor.callLater
        return channel

    def end_streams(self) -> None:
        """Finish every answer that goes on for ever."""
        for stream in list(self.streams):
            stream.end()

    def log(self, request: Any) -> None:
        """HTTPFactory API: no access log."""


class _Root(Resource):
    """Finds the route of a request and answers it."""

    isLeaf = True
    log = Logger()

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self._answers = answers

    def render(self, request: Request) -> Any:
        """IResource API."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        Deferred.fromCoroutine(self._answer(request)).addErrback(self._failed, request)
        return server.NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        if not request.is_local:
            await request.site.share.turn()
        if request.is_gone:
            return
        try:
            answer = await self._route(request)
        except Refusal as refusal:
            request.setResponseCode(refusal.status)
            answer = {"error": str(refusal)}
        if answer is not None and not request.is_gone:
            _write(request, answer)

    def _route(self, request: Request) -> Awaitable[Any]:
        path = [_text(part) for part in request.postpath]
        here = [route for route in ROUTES if route.matches(path) and (route.is_public or request.is_local)]
        if not here:
            raise Refusal(404, "there is nothing here")
        method = "GET" if request.method == b"HEAD" else _text(request.method)
        for route in here:
            if route.method == method:
                if route.changes and not request.may_change:
                    raise Refusal(403, "only root and the daemon's own user may change something")
                return route.answer(self._answers, request, *route.names(path))
        request.setHeader("Allow", ", ".join(route.method for route in here))
        raise Refusal(405, f"not by {method}")

    def _failed(self, failure: Any, request: Request) -> None:
        self.log.failure("a defect in multid; please report it", failure=failure)
        if not request.is_gone:
            request.setResponseCode(500)
            _write(request, {"error": "a defect in multid, see its log"})


def _write(request: Request, answer: Any) -> None:
    if not isinstance(answer, bytes):
        request.setHeader("Content-Type", "application/json")
        answer = json.dumps(answer).encode() + b"\n"
    request.setHeader("Content-Length", str(len(answer)))
    if request.method != b"HEAD":
        request.write(answer)
    request.finish()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
