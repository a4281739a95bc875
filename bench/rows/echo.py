"""TCP echo: what a round trip costs."""

from bench import loads
from bench.peers import floor, multid, openbsd_inetd, python, xinetd
from bench.row import Figure, Row, Sample, Target
from bench.server import Server

CONNECTIONS = 50
SIZE = 64
SECONDS = 2.0


def ready(server: Server) -> bool:
    return loads.answers(server, "tcp")


def measure(server: Server) -> Sample:
    return loads.pingpong(server, "tcp", CONNECTIONS, SIZE, SECONDS)


ROW = Row(
    name="echo",
    work=f"{CONNECTIONS} connections ping-pong {SIZE} octets",
    figures=(Figure("rate", "round trips/s", targets=(Target(1.8, "stock Twisted"), Target(0.6, "C, epoll"))),),
    contenders={
        "C, epoll": floor.echo_tcp,
        "uvloop": python.uvloop_echo_tcp,
        "thread per connection": python.threads_echo_tcp,
        "stock Twisted": python.twisted_echo_tcp,
        "asyncio": python.asyncio_echo_tcp,
        "xinetd": xinetd.echo_tcp,
        "openbsd-inetd": openbsd_inetd.echo_tcp,
        "multid": multid.echo_tcp,
    },
    ready=ready,
    measure=measure,
)
