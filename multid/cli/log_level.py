"""`multid log-level`: how much the daemon logs, while it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from multid.cli._client import with_daemon

if TYPE_CHECKING:
    from multid.cli._client import Daemon


@click.command()
@click.argument("settings", nargs=-1, metavar="[LEVEL | NAME=LEVEL | NAME=]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_daemon
def command(daemon: Daemon, settings: tuple[str, ...], *, as_json: bool) -> None:
    """Show or set the least serious level that is logged: debug, info, warn or error.

    NAME is a service or a part of the program such as mail or net; without it the level is that of all others. "NAME="
    gives it the level of all others again. A restart forgets what was set here.
    """
    levels = daemon.get("log-level")
    for setting in settings:
        name, equals, level = setting.rpartition("=")
        levels = daemon.post("log-level", body={"name": name, "level": level if level or not equals else None})
    if as_json:
        click.echo(json.dumps(levels, indent=2))
    else:
        click.echo("\n".join(f"{name or 'all others'}: {level}" for name, level in levels.items()))
