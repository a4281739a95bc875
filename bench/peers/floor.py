"""Programs in C that do nothing but the system calls a service cannot avoid: what the load can drive at most."""

import os

from bench.obtain import compiled, debian, libraries
from bench.server import Command, Place


def echo_tcp(place: Place) -> Command:
    return Command((str(compiled("reference/echo")), "tcp", str(place.port)))


def echo_udp(place: Place) -> Command:
    return Command((str(compiled("reference/echo")), "udp", str(place.port)))


def logger(place: Place) -> Command:
    return Command((str(compiled("reference/sink")), str(place.port), str(place.folder / "lines.log")))


def smtp(place: Place) -> Command:
    """Postfix's smtp-sink, which is C and keeps nothing."""
    root = debian("postfix")
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    return Command((str(root / "usr/sbin/smtp-sink"), *user, f"127.0.0.1:{place.port}", "1000"), libraries(root))
