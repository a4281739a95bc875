"""xinetd's internal echo, with every limit out of the way."""

import getpass

from bench.obtain import debian, libraries
from bench.server import Command, Place

CONFIGURATION = """
defaults
{{
  instances = UNLIMITED
  per_source = UNLIMITED
  cps = 1000000 1
}}
service echo
{{
  type = INTERNAL UNLISTED
  id = echo-{kind}
  socket_type = {kind}
  protocol = {transport}
  wait = {wait}
  user = {user}
  port = {port}
  bind = 127.0.0.1
}}
"""


def echo_tcp(place: Place) -> Command:
    return _echo(place, "stream", "tcp", "no")


def echo_udp(place: Place) -> Command:
    return _echo(place, "dgram", "udp", "yes")


def _echo(place: Place, kind: str, transport: str, wait: str) -> Command:
    root = debian("xinetd")
    file = place.folder / "xinetd.conf"
    user = getpass.getuser()
    file.write_text(CONFIGURATION.format(kind=kind, transport=transport, wait=wait, user=user, port=place.port))
    argv = (str(root / "usr/sbin/xinetd"), "-dontfork", "-f", str(file), "-filelog", str(place.folder / "log"))
    return Command((*argv, "-pidfile", str(place.folder / "pid")), libraries(root))
