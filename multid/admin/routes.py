"""What may be asked over HTTP, and what answers it. A `*` in a path stands for a name.

Public (also over TCP): the page, its status as JSON and as a stream, `/metrics`, `/healthz`, `/readyz`. Over the admin
socket besides: reload, tail, log levels, rotation, pause and resume, and what a service itself offers (`readings` and
`actions` of NetworkService).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from multid.admin import page, status
from multid.admin.streams import Follow
from multid.config.problems import did_you_mean
from multid.net.follower import Wanted
from multid.overview import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multid.net.service import NetworkService

Answer = Callable[..., Awaitable[Any]]


class Refusal(Exception):  # noqa: N818 - an answer to the peer
    """A request that is not answered with what it asked for: the HTTP status, and why."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class Route:
    """One thing that may be asked."""

    method: str
    path: tuple[str, ...]
    answer: Answer
    is_public: bool = False

    @property
    def changes(self) -> bool:
        """Whether it needs the right to change something."""
        return self.method == "POST"

    def matches(self, path: list[str]) -> bool:
        """Whether a path is this one."""
        return len(path) == len(self.path) and all(
            one in (part, "*") for one, part in zip(self.path, path, strict=True)
        )

    def names(self, path: list[str]) -> list[str]:
        """Return the names in a path that matches."""
        return [part for one, part in zip(self.path, path, strict=True) if one == "*"]


class Answers:
    """Every answer that a site gives, one method each; its docstring begins with what it answers."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._daemon = site.admin.daemon
        self._metrics: Any = None

    # For everybody

    async def page(self, request: Any) -> bytes:
        """`/`: the status page, which needs no script to be read."""
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        return await page.document(self._site.admin)

    async def status(self, request: Any) -> dict[str, Any]:
        """`/status.json`: what the page shows, as data."""
        return status.status(self._daemon)

    async def events(self, request: Any) -> None:
        """`/events`: the page's content as server-sent events."""
        if self._site.live.is_full:
            raise Refusal(503, "enough look on already")
        await self._site.live.add(request)

    async def metrics(self, request: Any) -> bytes:
        """`/metrics`: for Prometheus."""
        from multid.admin.metrics import CONTENT_TYPE, Metrics  # noqa: PLC0415 - only where Prometheus is in use

        request.setHeader("Content-Type", CONTENT_TYPE)
        if self._metrics is None:
            self._metrics = Metrics(self._daemon)
        text: bytes = self._metrics.text()
        return text

    async def health(self, request: Any) -> bytes:
        """`/healthz`: 200 while the process works, 503 with its faults."""
        return _lines(request, faults(self._daemon))

    async def readiness(self, request: Any) -> bytes:
        """`/readyz`: 200 while every required service is up, 503 with those that are not."""
        return _lines(request, status.unready(self._daemon))

    async def style(self, request: Any) -> bytes:
        """`/status.css`."""
        request.setHeader("Content-Type", "text/css; charset=utf-8")
        return _file("status.css")

    async def script(self, request: Any) -> bytes:
        """`/status.js`."""
        request.setHeader("Content-Type", "text/javascript; charset=utf-8")
        return _file("status.js")

    async def icon(self, request: Any) -> bytes:
        """`/icon.svg`."""
        request.setHeader("Content-Type", "image/svg+xml")
        return _file("icon.svg")

    # Over the admin socket

    async def reload(self, request: Any) -> dict[str, Any]:
        """`POST /reload`: applies the file and waits for the end of that; with `?dry_run=1` nothing is changed."""
        reloaded = await self._daemon.reload(dry_run=request.arguments().get("dry_run") == "1")
        if reloaded.is_refused:
            request.setResponseCode(422)
        answer: dict[str, Any] = reloaded.as_json()
        return answer

    async def follow(self, request: Any, name: str) -> None:
        """`/tail/SERVICE?peer=&grep=&severity=`: the events of a service that are wanted, JSON objects, one a line."""
        self._service(name)
        Follow(self._site, request, name, _wanted(**request.arguments())).begin()

    async def levels(self, request: Any) -> dict[str, str]:
        """`/log-level`: the levels by service and namespace; that of all others has the name ''."""
        levels: dict[str, str] = self._daemon.logbook.levels.as_dict()
        return levels

    async def set_level(self, request: Any) -> dict[str, str]:
        """`POST /log-level` of `{"name": ..., "level": ...}`; a name without a level has that of all others again."""
        body = request.body()
        levels = self._daemon.logbook.levels
        name, level = str(body.get("name", "")), body.get("level")
        if level is None:
            levels.reset(name)
        else:
            _sensible(levels.set, name, str(level))
        return await self.levels(request)

    async def rotate(self, request: Any) -> dict[str, list[str]]:
        """`POST /rotate`: new files in every service, and the daemon's own log is opened anew."""
        self._daemon.logbook.reopen()
        return {service.name: await service.rotate() for service in self._daemon}

    async def rotate_one(self, request: Any, name: str) -> dict[str, list[str]]:
        """`POST /services/SERVICE/rotate`: new files in one service."""
        service = self._service(name)
        if not service.has_files:
            raise Refusal(400, f"{name} has no files to rotate")
        return {name: await service.rotate()}

    async def pause(self, request: Any, name: str) -> dict[str, str]:
        """`POST /services/SERVICE/pause`: accepts nothing until it is resumed."""
        service = self._service(name)
        service.pause()
        return {"state": service.state}

    async def resume(self, request: Any, name: str) -> dict[str, str]:
        """`POST /services/SERVICE/resume`."""
        service = self._service(name)
        service.resume()
        return {"state": service.state}

    async def read(self, request: Any, name: str, call: str) -> Any:
        """`/services/SERVICE/NAME`: what the service offers as a reading, with the arguments of the query."""
        return await _called(self._service(name).readings(), call, request.arguments())

    async def change(self, request: Any, name: str, call: str) -> Any:
        """`POST /services/SERVICE/NAME`: what it offers as an action, with those of the JSON body."""
        return await _called(self._service(name).actions(), call, request.body())

    def _service(self, name: str) -> NetworkService:
        services: dict[str, NetworkService] = self._daemon.namedServices
        if name not in services:
            hint = did_you_mean(name, list(services))
            raise Refusal(404, f"no service {name!r} runs" + (f"; {hint}" if hint else ""))
        return services[name]


def _lines(request: Any, troubles: list[str]) -> bytes:
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    if troubles:
        request.setResponseCode(503)
    return "".join(f"{line}\n" for line in troubles or ["ok"]).encode()


@cache
def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()


def _wanted(**arguments: str) -> Wanted:
    try:
        return Wanted(**arguments)
    except (TypeError, ValueError) as error:
        raise Refusal(400, str(error).removeprefix("Wanted.__init__() ")) from None


def _sensible(call: Callable[..., None], *arguments: str) -> None:
    try:
        call(*arguments)
    except ValueError as error:
        raise Refusal(400, str(error)) from None


async def _called(calls: Mapping[str, Any], name: str, arguments: Mapping[str, Any]) -> Any:
    if name not in calls:
        raise Refusal(404, f"this service has no {name!r}")
    try:
        return await calls[name](arguments)
    except LookupError as error:
        raise Refusal(404, str(error.args[0] if error.args else "not found")) from None
    except ValueError as error:
        raise Refusal(400, str(error)) from None


ROUTES = (
    Route("GET", ("",), Answers.page, is_public=True),
    Route("GET", ("status.json",), Answers.status, is_public=True),
    Route("GET", ("events",), Answers.events, is_public=True),
    Route("GET", ("metrics",), Answers.metrics, is_public=True),
    Route("GET", ("healthz",), Answers.health, is_public=True),
    Route("GET", ("readyz",), Answers.readiness, is_public=True),
    Route("GET", ("status.css",), Answers.style, is_public=True),
    Route("GET", ("status.js",), Answers.script, is_public=True),
    Route("GET", ("icon.svg",), Answers.icon, is_public=True),
    Route("POST", ("reload",), Answers.reload),
    Route("GET", ("tail", "*"), Answers.follow),
    Route("GET", ("log-level",), Answers.levels),
    Route("POST", ("log-level",), Answers.set_level),
    Route("POST", ("rotate",), Answers.rotate),
    Route("POST", ("services", "*", "rotate"), Answers.rotate_one),
    Route("POST", ("services", "*", "pause"), Answers.pause),
    Route("POST", ("services", "*", "resume"), Answers.resume),
    Route("GET", ("services", "*", "*"), Answers.read),
    Route("POST", ("services", "*", "*"), Answers.change),
)
