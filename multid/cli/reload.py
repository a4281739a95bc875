"""`multid reload`: applies the file to the running daemon, and prints what that changes."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from multid.cli._client import with_daemon

if TYPE_CHECKING:
    from multid.cli._client import Daemon


@click.command()
@click.option("--dry-run", is_flag=True, help="Try everything and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_daemon
def command(daemon: Daemon, *, dry_run: bool, as_json: bool) -> None:
    """Apply the configuration to the running daemon, all of it or nothing.

    Prints each difference with its old and new value. Exit status 78: the file has mistakes, or something it asks for
    cannot be had; then nothing has changed, and they are printed.
    """
    answer = daemon.post("reload", query={"dry_run": "1"} if dry_run else {})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif answer["ok"]:
        click.echo(_text(answer))
    else:
        click.echo(f"{answer['report']}\nnothing has changed", err=True)
    sys.exit(0 if answer["ok"] else os.EX_CONFIG)


def _text(answer: dict[str, Any]) -> str:
    kept = [f"= {', '.join(answer['kept'])}: untouched"] if answer["kept"] else []
    changes = [_difference(**difference) for difference in answer["differences"]]
    generation = f"generation {answer['generation']}"
    headline = f"{generation} can be changed to:" if answer["dry_run"] else f"{generation}, applied:"
    return "\n".join([headline if changes else "nothing differs", *changes, *kept])


def _difference(sign: str, key: str, old: str, new: str, place: str) -> str:
    if sign == "~":
        return f"~ {key}: {old} -> {new}  ({place})"
    return f"{sign} {key}: {old}{new}" + (f"  ({place})" if place else "")
