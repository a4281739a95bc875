"""Echo over TCP and UDP: what a round trip costs, over UDP with every guard on."""

from functools import partial

from bench import loads
from bench.peers import floor, multid, openbsd_inetd, python, xinetd
from bench.row import Figure, Row, Sample, Target
from bench.server import Server

CONNECTIONS = 50
SIZE = 64
SECONDS = 2.0


def ready(server: Server, transport: str = "tcp") -> bool:
    return loads.answers(server, transport)


def measure(server: Server, transport: str = "tcp") -> Sample:
    return loads.pingpong(server, transport, CONNECTIONS, SIZE, SECONDS)


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

UDP = Row(
    name="udp-echo",
    work=f"{CONNECTIONS} sockets ping-pong {SIZE} octets",
    figures=(Figure("rate", "round trips/s", targets=(Target(1.0, "stock Twisted"),)),),
    contenders={
        "C": floor.echo_udp,
        "uvloop": python.uvloop_echo_udp,
        "stock Twisted": python.twisted_echo_udp,
        "asyncio": python.asyncio_echo_udp,
        "xinetd": xinetd.echo_udp,
        "openbsd-inetd": openbsd_inetd.echo_udp,
        "multid": multid.echo_udp,
    },
    ready=partial(ready, transport="udp"),
    measure=partial(measure, transport="udp"),
)
