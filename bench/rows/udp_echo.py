"""UDP echo: what a datagram costs with every guard on."""

from bench import loads
from bench.peers import floor, multid, openbsd_inetd, python, xinetd
from bench.row import Figure, Row, Sample, Target
from bench.server import Server

SOCKETS = 50
SIZE = 64
SECONDS = 2.0


def ready(server: Server) -> bool:
    return loads.answers(server, "udp")


def measure(server: Server) -> Sample:
    return loads.pingpong(server, "udp", SOCKETS, SIZE, SECONDS)


ROW = Row(
    name="udp-echo",
    work=f"{SOCKETS} sockets ping-pong {SIZE} octets",
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
    ready=ready,
    measure=measure,
)
