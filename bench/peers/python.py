"""The plainest server of each Python library, from `bench/reference`."""

import sys

from bench.obtain import python
from bench.places import SOURCES
from bench.server import Command, Place


def _script(name: str, *arguments: object) -> Command:
    return Command((sys.executable, str(SOURCES / "reference" / f"{name}.py"), *map(str, arguments)))


def twisted_echo_tcp(place: Place) -> Command:
    return _script("twisted_echo", "tcp", place.port)


def twisted_echo_udp(place: Place) -> Command:
    return _script("twisted_echo", "udp", place.port)


def asyncio_echo_tcp(place: Place) -> Command:
    return _script("asyncio_echo", "tcp", place.port)


def asyncio_echo_udp(place: Place) -> Command:
    return _script("asyncio_echo", "udp", place.port)


def uvloop_echo_tcp(place: Place) -> Command:
    return _on_uvloop(asyncio_echo_tcp(place))


def uvloop_echo_udp(place: Place) -> Command:
    return _on_uvloop(asyncio_echo_udp(place))


def threads_echo_tcp(place: Place) -> Command:
    return _script("threads_echo", place.port)


def twisted_logger(place: Place) -> Command:
    return _script("twisted_logger", place.port, "lines.log")


def twisted_smtp(place: Place) -> Command:
    return _script("twisted_smtp", place.port)


def aiosmtpd(place: Place) -> Command:
    return Command(
        (sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{place.port}", "-c", "aiosmtpd.handlers.Sink")
    )


def _on_uvloop(command: Command) -> Command:
    return Command((*command.argv, "uvloop"), {"PYTHONPATH": str(python("uvloop"))})
