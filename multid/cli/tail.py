"""`multid tail`: the events of one service as they happen."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from multid.cli._client import fail, service_names, with_daemon

if TYPE_CHECKING:
    from multid.cli._client import Daemon

_APART = {"time", "event", "peer", "message", "level", "namespace", "service", "missed", "left_out"}
SEVERITIES = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]


@click.command()
@click.argument("service", shell_complete=service_names)
@click.option("--peer", default="", metavar="ADDRESS", help="Only of this address, address and port, or network.")
@click.option("--grep", default="", metavar="TEXT", help="Only what holds this text.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only what is as severe, or more.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@with_daemon
def command(daemon: Daemon, service: str, *, as_json: bool, **filters: str | None) -> None:
    """Show the events of SERVICE as they happen, until interrupted.

    A service is never held up by it: what is too much to be looked at, or to be read here, is left out, and how much
    that was is said.
    """
    try:
        for event in daemon.lines("tail", service, **{name: value for name, value in filters.items() if value}):
            click.echo(json.dumps(event) if as_json else _text(event))
    except KeyboardInterrupt:
        return
    except OSError as error:
        fail(f"the daemon does not answer: {error}", 69)
    fail("the daemon has ended", 69)


def _text(event: dict[str, Any]) -> str:
    left_out = int(event.get("left_out", 0)) + event.get("missed", 0)
    return (f"({left_out} left out)\n" if left_out else "") + _line(event)


def _line(event: dict[str, Any]) -> str:
    moment = datetime.fromtimestamp(event["time"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    if event["event"] == "log":
        return f"{moment} {event['level']}: {event['message']}"
    values = " ".join(f"{name}={value}" for name, value in event.items() if name not in _APART)
    return " ".join(part for part in (moment, event.get("peer", ""), event["event"], values) if part)
