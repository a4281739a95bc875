"""openbsd-inetd's internal echo.

Its port is that of /etc/services and it answers no datagram from 127/8, so it runs in a network namespace of its own.
"""

import getpass
import shutil

from bench.obtain import MissingError, debian, libraries
from bench.server import Command, Place

ADDRESS = "192.0.2.7"


def echo_tcp(place: Place) -> Command:
    return _echo(place, "stream tcp nowait")


def echo_udp(place: Place) -> Command:
    return _echo(place, "dgram udp wait")


def _echo(place: Place, kind: str) -> Command:
    if not (shutil.which("unshare") and shutil.which("ip")):
        raise MissingError("needs a network namespace: apt-get install util-linux iproute2")
    root = debian("openbsd-inetd")
    file = place.folder / "inetd.conf"
    file.write_text(f"{ADDRESS}:echo {kind} {getpass.getuser()} internal\n")
    argv = (str(root / "usr/sbin/inetd"), "-i", "-R", "0", str(file))
    return Command(argv, libraries(root), host=ADDRESS, port=7, apart=True)
