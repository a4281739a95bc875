"""Ten thousand idle connections: what each costs in memory, and what they cost the others."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import loads
from bench.peers import floor, multid, python
from bench.row import Figure, Row, Sample, Target
from bench.rows import echo
from bench.server import Server

IDLE = 10_000
SETTLE = 0.5


def measure(server: Server) -> Sample:
    """Alone is measured before and after, so that what else the machine does weighs less."""
    before = _rate(server)
    without = server.resident()
    with held(server, IDLE):
        time.sleep(SETTLE)
        memory = server.resident() - without
        crowded = _rate(server)
    time.sleep(SETTLE)
    alone = (before["rate"] + _rate(server)["rate"]) / 2
    return {"memory": memory / IDLE / 1024, "rate": crowded["rate"] / alone, "load": crowded["load"]}


@contextmanager
def held(server: Server, count: int) -> Iterator[None]:
    """So many connections that say nothing; each was answered once, so the server has taken it."""
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(socket.create_connection((server.command.host, server.port), 10))
            opened[-1].sendall(b"x")
            opened[-1].recv(1)
        yield
    finally:
        for connection in opened:
            connection.close()


def _rate(server: Server) -> dict[str, float]:
    return loads.pingpong(server, "tcp", echo.CONNECTIONS, echo.SIZE, 1.0)


ROW = Row(
    name="idle",
    work=f"{IDLE:,} idle connections beside the echo row's {echo.CONNECTIONS}",
    figures=(
        Figure("memory", "KiB each", more=False, targets=(Target(8),)),
        Figure("rate", "echo rate beside them ÷ alone", targets=(Target(0.9),)),
    ),
    contenders={
        "C, epoll": floor.echo_tcp,
        "uvloop": python.uvloop_echo_tcp,
        "stock Twisted": python.twisted_echo_tcp,
        "asyncio": python.asyncio_echo_tcp,
        "multid": multid.echo_tcp,
    },
    ready=echo.ready,
    measure=measure,
)
