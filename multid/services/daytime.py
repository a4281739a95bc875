"""Daytime: one line that people can read, then the end (RFC 867)."""

import time
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from multid.config.model import ServiceConfig
from multid.config.text import EOL, Eol
from multid.net.oneshot import OneShotService
from multid.service import ServiceKind


class DaytimeConfig(ServiceConfig):
    """How the line is written."""

    format: str = Field(default="ctime", min_length=1, description="ctime, iso8601, or a strftime pattern")
    zone: str = Field(default="local", description="local, utc, or a name such as Europe/Berlin")
    eol: Eol = Field(default="crlf", description="end of the line")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zone(value)
        return value


def zone(name: str) -> tzinfo | None:
    """Return the time zone of a name, None for the machine's own; ValueError where there is no such zone."""
    if name == "local":
        return None
    if name == "utc":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"local, utc or the name of a time zone such as Europe/Berlin, not {name!r}") from None


def line(config: DaytimeConfig, unix_time: float) -> bytes:
    """Return the line for a time given in seconds since 1970; month and day names are always the English ones."""
    moment = datetime.fromtimestamp(unix_time, UTC).astimezone(zone(config.zone))
    if config.format == "ctime":
        text = moment.ctime()
    elif config.format == "iso8601":
        text = moment.isoformat(timespec="seconds")
    else:
        text = moment.strftime(config.format)
    return (text + EOL[config.eol]).encode("utf-8", "replace")


class DaytimeService(OneShotService):
    """The time of day over TCP and UDP."""

    def answer(self) -> bytes:
        """OneShotService API."""
        return line(self.config, time.time())


KIND = ServiceKind("daytime", "the time of day as a line of text (RFC 867)", DaytimeConfig, DaytimeService)
