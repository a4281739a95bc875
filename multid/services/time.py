"""Time: the seconds since 1900 as four octets (RFC 868).

The number is taken modulo 2^32, as RFC 868's field is; it wraps on 2036-02-07 at 06:28:16 UTC.
"""

import struct
import time

from multid.config.model import ServiceConfig
from multid.net.oneshot import OneShotService
from multid.service import ServiceKind

SECONDS_1900_TO_1970 = 2208988800


class TimeConfig(ServiceConfig):
    """Nothing beyond the keys of every service."""


def encode(unix_time: float) -> bytes:
    """Return the four octets of a time given in seconds since 1970."""
    return struct.pack("!I", (int(unix_time) + SECONDS_1900_TO_1970) & 0xFFFFFFFF)


class TimeService(OneShotService):
    """The time over TCP and UDP."""

    def answer(self) -> bytes:
        """OneShotService API."""
        return encode(time.time())


KIND = ServiceKind("time", "the seconds since 1900 as four octets (RFC 868)", TimeConfig, TimeService)
