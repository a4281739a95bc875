"""`multid status`: one line a service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from multid.cli._client import with_daemon

if TYPE_CHECKING:
    from multid.cli._client import Daemon

_TITLES = ("SERVICE", "TYPE", "STATE", "LISTENS ON", "NOW", "TOTAL", "ERRORS")
_COLOURS = {"up": "green", "down": "red", "disabled": None}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_daemon
def command(daemon: Daemon, *, as_json: bool) -> None:
    """Show what runs: state, addresses, connections now and in all, errors.

    Exit status 3: the daemon does not run.
    """
    status = daemon.get("status.json")
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    click.echo(_headline(status))
    for trouble in [*status["faults"], *(f"last reload refused: {problem}" for problem in status["refused"])]:
        click.secho(trouble, fg="red")
    rows = [_row(service) for service in status["services"]]
    widths = [max(len(row[column]) for row in [_TITLES, *rows]) for column in range(len(_TITLES))]
    click.echo(_line(_TITLES, widths))
    for service, row in zip(status["services"], rows, strict=True):
        click.echo(_line(row, widths, _COLOURS.get(service["state"], "yellow")))
        for trouble in _troubles(service):
            click.echo(f"  {trouble}")


def _headline(status: dict[str, Any]) -> str:
    return (
        f"multid {status['version']}  {status['state']} for {_duration(status['state_for'])}  pid {status['pid']}  "
        f"{status['config']}, generation {status['generation']} of {status['loaded']}"
    )


def _row(service: dict[str, Any]) -> tuple[str, ...]:
    counters = service["counters"]
    addresses = " ".join(one["address"] for one in service["listen"])
    total = counters.get("connections_total", 0) + counters.get("datagrams", 0)
    return (
        service["name"],
        service["type"],
        service["state"],
        addresses,
        str(counters.get("connections", 0)),
        str(total),
        str(counters.get("errors", 0)),
    )


def _line(row: tuple[str, ...], widths: list[int], colour: str | None = None) -> str:
    cells = [
        value.rjust(width) if column >= 4 else value.ljust(width)
        for column, (value, width) in enumerate(zip(row, widths, strict=True))
    ]
    if colour:
        cells[2] = click.style(cells[2], fg=colour)
    return "  ".join(cells).rstrip()


def _troubles(service: dict[str, Any]) -> list[str]:
    """Return what else must be known: why an address is not bound, and what the kind has to say."""
    problems = list(dict.fromkeys(one["problem"] for one in service["listen"] if one["problem"]))
    return [*problems, *service.get("details", {}).get("notes", [])]


def _duration(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock
