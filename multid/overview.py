"""What runs, as an operator sees it: in one line, or as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multid.config.model import ServiceConfig
    from multid.daemon import Daemon
    from multid.net.service import NetworkService


def summary(daemon: Daemon) -> str:
    """Return the state of all services in one line: those that are up, then each that is not and why."""
    up, others = [], []
    for status in statuses(daemon):
        if status["state"] == "up":
            up.append(status["name"])
        elif status["state"] != "disabled":
            others.append(f"{status['name']} {status['state']}{_why(status)}")
    parts = [f"{', '.join(up)} up"] * bool(up) + others
    return f"{'; '.join(parts) or 'no services'}; {_connections(daemon)} connections"


def _connections(daemon: Daemon) -> int:
    return sum(service.counters.connections for service in [*daemon, *daemon.draining])


def faults(daemon: Daemon) -> list[str]:
    """Return what is wrong that only a new process can put right."""
    return [f"{service.name}: {service.fault()}" for service in daemon if service.fault()]


def statuses(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the status of every service of the file, in its order, and then of those that are finishing."""
    services = [_status(daemon, name, config) for name, config in daemon.loaded.file.services.items()]
    return services + [service.status() for service in daemon.draining]


def _status(daemon: Daemon, name: str, config: ServiceConfig) -> dict[str, Any]:
    if name in daemon.waiting:
        return _down(daemon.waiting[name].service, config, daemon.waiting[name].problem)
    if name in daemon.namedServices:
        status: dict[str, Any] = daemon.namedServices[name].status()
        return status
    state = "starting" if config.enabled else "disabled"
    listen = [{"address": str(address), "problem": ""} for address in config.listen]
    return {"name": name, "type": config.type, "state": state, "listen": listen, "counters": {}, "details": {}}


def _down(service: NetworkService, config: ServiceConfig, problem: str) -> dict[str, Any]:
    listen = [{"address": str(address), "problem": problem} for address in config.listen]
    return {**service.status(), "state": "down", "listen": listen}


def _why(status: dict[str, Any]) -> str:
    problems: Iterable[str] = dict.fromkeys(one["problem"] for one in status["listen"] if one["problem"])
    return f" ({', '.join(problems)})" if problems else ""
