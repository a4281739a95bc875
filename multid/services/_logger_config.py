"""The keys of a `logger` stanza."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from multid.config.model import LISTED, Model, Rate, ServiceConfig, Size
from multid.lines.escape import check_charset
from multid.lines.framing import Framing
from multid.lines.model import FileOutput, OutputConfig
from multid.lines.splitter import Oversize, Unterminated


class LineRate(Model):
    """How many lines one peer may send."""

    lines: Rate = Field(gt=0, description="lines a second, in the long run")
    burst: int = Field(default=20000, ge=1, description="lines at once")


class LoggerConfig(ServiceConfig):
    """What a line is, and where lines go."""

    framing: Framing = Field(
        default="auto",
        description="what ends a line: lf, crlf, nul, octet-counted (RFC 6587), or auto: octet-counted where a frame"
        " begins with a length and <PRI>, else LF with or without CR",
    )
    max_line: Size = Field(default=65536, ge=16, le=16 << 20, description="longest line")
    oversize: Oversize = Field(default="split", description="what happens to a longer one: split, truncate or drop")
    unterminated: Unterminated = Field(default="keep", description="the last line of a connection without a line end")
    charset: str = Field(
        default="utf-8", description="charset of the text; octets not valid in it are escaped, never refused"
    )
    parse: Literal["none", "syslog", "json"] = Field(
        default="none", description="what lines are, for the fields of json and rfc5424 and for {host} in a path"
    )
    rate: LineRate | None = Field(
        default=None, description="what one peer may send: beyond it TCP is paused, UDP dropped and counted"
    )
    output: Annotated[tuple[OutputConfig, ...], LISTED] = Field(
        default=(FileOutput(file="var/log/{service}.log"),), min_length=1, description="where lines go, to each of them"
    )

    @field_validator("charset")
    @classmethod
    def _usable_charset(cls, value: str) -> str:
        try:
            return check_charset(value)
        except LookupError as error:
            raise ValueError(f"unknown or unusable charset {value!r}: {error}") from None
