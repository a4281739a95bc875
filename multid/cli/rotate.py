"""`multid rotate`: new log files, now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from multid.cli._client import service_names, with_daemon

if TYPE_CHECKING:
    from multid.cli._client import Daemon


@click.command()
@click.argument("service", nargs=-1, shell_complete=service_names)
@with_daemon
def command(daemon: Daemon, service: tuple[str, ...]) -> None:
    """Put the log files of SERVICE away and begin new ones; without SERVICE those of all."""
    answers = (daemon.post("services", name, "rotate") for name in service) if service else [daemon.post("rotate")]
    for answer in answers:
        for name, files in answer.items():
            for file in files:
                click.echo(f"{name}: {file}")
