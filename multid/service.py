"""The seam between the services and the daemon: what a kind is, and what a service may use. No logic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multid.config.model import ServiceConfig
    from multid.net.descriptors import Descriptors
    from multid.net.service import NetworkService
    from multid.net.sockets import SocketStore


@dataclass(frozen=True)
class ServiceKind:
    """A kind of service: its name in the file, one line of what it does, its keys, and how one is made.

    A file in `multid/services/` holds one as `KIND`; another package offers one as an entry point in `multid.kinds`.
    """

    name: str
    summary: str
    config: type[ServiceConfig]
    build: Callable[[str, Any, Runtime], NetworkService]


@dataclass
class Runtime:
    """What a service may use of the process it runs in; there are no globals."""

    reactor: Any
    sockets: SocketStore
    descriptors: Descriptors
    state_dir: Path


@dataclass(frozen=True)
class Change:
    """Something prepared: `commit` makes it current and cannot fail, `undo` leaves everything as it was."""

    commit: Callable[[], None]
    undo: Callable[[], None]


Call = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""What may be asked of a service over the admin socket: from named arguments to plain data; LookupError where the
arguments name what is not there, ValueError where they make no sense."""


@dataclass(frozen=True)
class Measure:
    """One number for `/metrics`: a name that `multid.admin.metrics` knows, labels besides `service`, the value now."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


class ServiceError(Exception):
    """A service cannot do what its stanza says; the text is one line for the operator."""
