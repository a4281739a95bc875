"""What an operator asks of the daemon as a whole, as plain data."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from multid.overview import faults, statuses

if TYPE_CHECKING:
    from multid.daemon import Daemon


def status(daemon: Daemon) -> dict[str, Any]:
    """Return everything that `multid status` and the status page show."""
    last = daemon.reloads.last
    return {
        "version": version(),
        "pid": os.getpid(),
        "state": state(daemon),
        "config": str(daemon.loaded.path),
        "generation": daemon.reloads.generation,
        "started": moment(daemon.started_at),
        "uptime": round(time.time() - daemon.started_at, 1),
        "state_for": round(time.time() - (daemon.ending_since or daemon.started_at), 1),
        "loaded": moment(daemon.reloads.succeeded_at),
        "refused": [problem.headline for problem in last.problems] if last is not None else [],
        "faults": faults(daemon),
        "services": statuses(daemon),
    }


@cache
def version() -> str:
    """Return the version of the installed package."""
    return metadata.version("multid")


def state(daemon: Daemon) -> str:
    """Return `starting`, `running` or `ending`."""
    if not daemon.running:
        return "ending"
    return "running" if daemon.is_ready else "starting"


def unready(daemon: Daemon) -> list[str]:
    """Return why the daemon is not ready, a line each: it is starting or ending, or a required service is not up."""
    lines = [f"multid {state(daemon)}"] if state(daemon) != "running" else []
    for service in statuses(daemon):
        config = daemon.loaded.file.services.get(service["name"])
        if config is not None and config.enabled and config.required and service["state"] != "up":
            lines.append(f"{service['name']} {service['state']}")
    return lines


def moment(seconds: float) -> str:
    """Return a time of the wall clock as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
