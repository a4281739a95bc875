"""The `output` of a logger in the file: a file, a next hop, or the journal."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator

from multid.config.model import Duration, Model, Size
from multid.lines.format import Format
from multid.lines.logfiles import FileOptions
from multid.lines.path import PathTemplate
from multid.lines.rotation import Rotation, zstd_module


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

OnFull = Literal["pause", "drop"]
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
                zstd_module()
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
