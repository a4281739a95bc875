"""The `output` of a logger in the file: a file, a next hop, or the journal."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from multid.config.model import Duration, Model, Size
from multid.config.target import Target, TargetText
from multid.lines import zstd
from multid.lines.format import Format
from multid.lines.forward import ForwardOptions
from multid.lines.frames import ForwardFormat, StreamFraming
from multid.lines.logfiles import FileOptions
from multid.lines.path import PathTemplate
from multid.lines.rotation import Rotation
from multid.lines.waiting import OnFull


def _octal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f"a mode is three octal digits, such as 0640, not {value!r}")
    return int(value, 8)


Mode = Annotated[
    int,
    BeforeValidator(_octal),
    PlainSerializer(lambda mode: f"{mode:04o}", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$"}),
]
"""Permissions of a file, written `"0640"`."""


_ON_FULL = "what peers do while no more can be taken: wait, or lose lines (counted)"


class Rotate(Model):
    """When a file is put away under a dated name, and what is kept of those."""

    size: Size | None = Field(default=None, ge=1, description="before it grows beyond this size")
    every: Literal["hour", "day", "week"] | Duration | None = Field(
        default=None, description="at the end of each hour, day or week (UTC), or of a period such as 15m"
    )
    keep: int | None = Field(default=14, ge=0, description="how many are kept")
    age: Duration | None = Field(default=None, description="how old they may become")
    total: Size | None = Field(default=None, description="how large they may be together")
    compress: Literal["none", "gzip", "zstd"] = Field(default="none", description="how they are compressed")

    @field_validator("compress")
    @classmethod
    def _available(cls, value: str) -> str:
        if value == "zstd":
            try:
                zstd.library()
            except ImportError as error:
                raise ValueError(str(error)) from None
        return value


class FileOutput(Model):
    """A file, or one for each value of the fields in its path."""

    file: str = Field(
        description="path; it may hold {service}, {peer}, {host} and strftime fields, and stays below its fixed part"
    )
    format: Format = Field(default="text", description="what a record looks like: text, json, raw or rfc5424")
    mode: Mode = Field(default=0o640, description="permissions of a new file, whatever the umask")
    rotate: Rotate | None = Field(default=None, description="when it is put away; never if absent")
    sync: Literal["never", "always"] | Duration = Field(
        default="never", description="when lines must be on the disk itself: never, always, or within a time such as 1s"
    )
    on_full: OnFull = Field(default="pause", description=_ON_FULL)

    @field_validator("file")
    @classmethod
    def _is_path(cls, value: str) -> str:
        PathTemplate(value)
        return value

    def options(self) -> FileOptions:
        """Return what the file output is made with."""
        rotation = Rotation(**self.rotate.model_dump()) if self.rotate else Rotation()
        return FileOptions(PathTemplate(self.file), self.format, self.mode, rotation, self.sync, self.on_full)


class ForwardTls(Model):
    """Whom the next hop must prove to be, and who we are to it."""

    ca: Path | None = Field(default=None, description="PEM file of the authorities; by default the system's")
    certificate: Path | None = Field(
        default=None, description="PEM file of our certificate and its key, if one is asked"
    )
    name: str | None = Field(default=None, description="name in the next hop's certificate; by default its host")


class SpoolFolder(Model):
    """A folder on disk for what the next hop has not taken."""

    dir: Path = Field(description="folder, for this output alone")
    max: Size = Field(default=1 << 30, ge=1, description="how much it may hold")


class ForwardOutput(Model):
    """Another collector."""

    forward: TargetText = Field(description="tcp:HOST:PORT, ssl:HOST:PORT or udp:HOST:PORT")
    framing: StreamFraming = Field(default="octet-counted", description="how a message ends: octet-counted or lf")
    format: ForwardFormat = Field(default="rfc5424", description="what is sent: rfc5424, or raw, the line as received")
    spool: SpoolFolder | None = Field(default=None, description="where lines wait for it; by default 4 MiB of memory")
    tls: ForwardTls = Field(default=ForwardTls(), description="certificates, for ssl:")
    on_full: OnFull = Field(default="pause", description=_ON_FULL)

    @model_validator(mode="after")
    def _has_a_use(self) -> "ForwardOutput":
        if self.forward.transport == "unix":
            raise ValueError("lines are forwarded to tcp:HOST:PORT, ssl:HOST:PORT or udp:HOST:PORT")
        if self.spool is not None and self.forward.transport == "udp":
            raise ValueError("UDP does not tell what has arrived, so it has no use for a spool")
        return self

    @property
    def named(self) -> Target:
        """The next hop by the name that its certificate has."""
        return replace(self.forward, host=self.tls.name or self.forward.host)

    def options(self, tls: Any = None) -> ForwardOptions:
        """Return what the output is made with; `tls` is our half of it."""
        spool = self.spool or SpoolFolder(dir=Path())
        return ForwardOptions(
            self.forward,
            self.framing,
            self.format,
            spool.dir if self.spool else None,
            spool.max,
            self.on_full,
            tls,
        )


class JournalOutput(Model):
    """The systemd journal of this host."""

    journal: Path = Field(description="its socket: /run/systemd/journal/socket")
    on_full: OnFull = Field(default="pause", description=_ON_FULL)


OutputConfig = FileOutput | ForwardOutput | JournalOutput
