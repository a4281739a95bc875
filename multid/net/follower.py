"""Whoever follows a service live, and which of its events they want to see. Pure.

`peer` is an address, an address and a port as they are shown, or a network; `grep` a text that must stand in what is
shown; `severity` one of syslog's, by name: what is as severe or more.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_LEVELS = {"critical": 2, "error": 3, "warn": 4, "info": 6, "debug": 7}  # those of our own log


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to see; by default everything. ValueError where that makes no sense."""

    peer: str = ""
    grep: str = ""
    severity: str = ""

    def __post_init__(self) -> None:
        if self.severity and self.severity not in SEVERITIES:
            raise ValueError(f"no severity {self.severity!r}; there are {', '.join(SEVERITIES)}")
        host = self.peer.rpartition(":")[0].strip("[]")
        if self.peer and self._network is None and not any(map(_is_host, (self.peer, host))):
            raise ValueError(f"a peer is an address, an address and a port, or a network, not {self.peer!r}")

    @cached_property
    def worst(self) -> int | None:
        """The number of the severity: of what is wanted it is this or less."""
        return SEVERITIES.index(self.severity) if self.severity else None

    @cached_property
    def _network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        try:
            return ipaddress.ip_network(self.peer, strict=False)
        except ValueError:
            return None

    def admits_peer(self, peer: str) -> bool:
        """Whether what comes from a peer, as it is shown, is wanted."""
        if self.peer in {"", peer}:
            return True
        host = peer.rpartition(":")[0].strip("[]")
        if self._network is None:
            return host == self.peer
        try:
            return ipaddress.ip_address(host) in self._network
        except ValueError:
            return False

    def admits(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is wanted, by its values, its name among them."""
        if not self.admits_peer(str(event.get("peer", ""))):
            return False
        if self.grep and not any(self.grep in str(value) for value in event.values()):
            return False
        return self.worst is None or _LEVELS.get(str(event.get("level")), 8) <= self.worst


def _is_host(text: str) -> bool:
    """Whether a text is what a peer without its port may be called."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return text == "unix"


class Follower:
    """One who follows: `take` is called with the name and the plain values of each event that is wanted."""

    def __init__(self, take: Callable[[str, Mapping[str, Any]], None], wanted: Wanted | None = None) -> None:
        self.take = take
        self.wanted = wanted or Wanted()

    def __call__(self, event: str, values: Mapping[str, Any]) -> None:
        """Show an event, if it is wanted."""
        if self.wanted.admits({"event": event, **values}):
            self.take(event, values)
