r"""Where a service connects to: `tcp:HOST:PORT`, `ssl:HOST:PORT`, `udp:HOST:PORT`, `unix:PATH`. Pure.

A host is a name, an IPv4 address, or an IPv6 address in brackets (or with its colons written `\:`, as Twisted does).
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_NETWORK = re.compile(r"(tcp|ssl|udp):(?:\[([^\]]+)\]|((?:[^:\\\[\]]|\\.)+)):(\d{1,5})")
_NAME = re.compile(r"[A-Za-z0-9._:%-]+")


@dataclass(frozen=True)
class Target:
    """One place to connect to: what `parse_target` makes of a text, which it keeps."""

    text: str
    transport: Literal["tcp", "ssl", "udp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.text


def parse_target(text: str) -> Target:
    """Return the target a text names; ValueError says what one looks like."""
    if text.startswith("unix:/"):
        return Target(text, "unix", path=text.removeprefix("unix:"))
    match = _NETWORK.fullmatch(text)
    host = (match[2] or match[3].replace("\\", "")) if match else ""
    if not match or not _NAME.fullmatch(host):
        raise ValueError(f"a target is tcp:HOST:PORT, ssl:HOST:PORT, udp:HOST:PORT or unix:/PATH, not {text!r}")
    port = int(match[4])
    if not 1 <= port <= 65535:
        raise ValueError(f"a port is a number from 1 to 65535, not {match[4]}")
    return Target(text, match[1], host, port)  # type: ignore[arg-type]


TargetText = Annotated[
    Target,
    BeforeValidator(lambda value: parse_target(value) if isinstance(value, str) else value),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string"}),
]
"""A target in the file, written as `parse_target` reads it."""
