"""How cost grows: one thing is varied, all else is as in its row; a point is measured once a contender."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import loads, plot
from bench.obtain import MissingError
from bench.peers import floor, multid, postfix, python
from bench.places import PLOTS
from bench.row import Contender, Row, Sample
from bench.rows import echo, smtp_in
from bench.runner import one
from bench.server import RunError, Server
from bench.slow_disk import on_slow_disk
from bench.table import number


@dataclass(frozen=True)
class Curve:
    """`measure(server, x)` at each x of `places`, for each contender as `prepared(contender, x)` starts it."""

    name: str
    across: str
    unit: str
    places: Sequence[int]
    contenders: Mapping[str, Contender]
    measure: Callable[[Server, int], Sample]
    row: Row
    prepared: Callable[[Contender, int], Contender] = lambda contender, _: contender


@dataclass
class Grown:
    """The points of each contender, and why others are missing."""

    curve: Curve
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def grow(curve: Curve, tell: Callable[[str], None]) -> Grown:
    grown = Grown(curve)
    for x in curve.places:
        for name, contender in curve.contenders.items():
            tell(f"growth {curve.name}: {x:,}, {name}")
            try:
                value = _point(curve, contender, x)
            except (MissingError, RunError) as error:
                grown.missing[f"{name} at {x:,}"] = str(error)
            else:
                grown.points.setdefault(name, []).append((x, value))
    return grown


def render(grown: Grown) -> str:
    curve = grown.curve
    lines = [f"{curve.name}: {curve.unit} by {curve.across}"]
    lines += ["  " + "".join(f"{cell:>16}" for cell in ("", *(f"{x:,}" for x in curve.places)))]
    for name, points in grown.points.items():
        found = dict(points)
        cells = [number(found[x]) if x in found else "-" for x in curve.places]
        lines.append("  " + "".join(f"{cell:>16}" for cell in (name, *cells)))
    return "\n".join([*lines, *(f"  {name}: missing, {why}" for name, why in grown.missing.items())])


def draw(grown: Grown, folder: Path = PLOTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"growth-{grown.curve.name}.svg"
    path.write_text(plot.curves(grown.curve.name, grown.curve.across, grown.curve.unit, grown.points))
    return path


def _point(curve: Curve, contender: Contender, x: int) -> float:
    row = dataclasses.replace(curve.row, measure=lambda server: curve.measure(server, x))
    return one(row, curve.prepared(contender, x))["rate"]


def _mails(server: Server, count: int, size: int, sessions: int) -> Sample:
    return {"rate": count / loads.mails(server.port, count, size, sessions).seconds}


def _with_queue(server: Server, queued: int) -> Sample:
    if queued:
        loads.mails(server.port, queued, 1024, 50, patience=600)
    return _mails(server, 2000, smtp_in.SIZE, smtp_in.SESSIONS)


ECHO = {"multid": multid.echo_tcp, "C, epoll": floor.echo_tcp, "stock Twisted": python.twisted_echo_tcp}
SMTP = {"multid": multid.smtp_in, "Postfix": postfix.smtp_in}
SECONDS = 1.0

CURVES = {
    curve.name: curve
    for curve in (
        Curve(
            "connections",
            "connections, 64 octets each",
            "round trips/s",
            (1, 10, 100, 1000, 10_000),
            ECHO,
            lambda server, x: loads.pingpong(server, "tcp", x, 64, SECONDS),
            echo.ROW,
        ),
        Curve(
            "octets",
            "octets of a message, 50 connections",
            "round trips/s",
            tuple(64 << step for step in range(0, 11, 2)),
            ECHO,
            lambda server, x: loads.pingpong(server, "tcp", 50, x, SECONDS),
            echo.ROW,
        ),
        Curve(
            "sessions",
            "SMTP sessions, mails of 4 KiB",
            "mails/s",
            (1, 5, 20, 50, 100, 200),
            SMTP,
            lambda server, x: _mails(server, min(200 + 100 * x, 3000), 4096, x),
            smtp_in.ROW,
        ),
        Curve(
            "mail-size",
            "octets of a mail, 20 sessions",
            "mails/s",
            (4 << 10, 32 << 10, 128 << 10, 512 << 10, 5 << 20),
            SMTP,
            lambda server, x: _mails(server, max(100, min(2000, (256 << 20) // x)), x, 20),
            smtp_in.ROW,
        ),
        Curve(
            "slow-disk",
            "milliseconds added to each fsync, 20 sessions",
            "mails/s",
            (0, 5),
            SMTP,
            lambda server, _: _mails(server, 1000, 4096, 20),
            smtp_in.ROW,
            on_slow_disk,
        ),
        Curve(
            "queue", "mails on hold in the queue", "mails/s", (0, 1000, 10_000, 100_000), SMTP, _with_queue, smtp_in.ROW
        ),
    )
}
