"""`multid resume`: a service that was paused accepts again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from multid.cli._client import service_names, with_daemon

if TYPE_CHECKING:
    from multid.cli._client import Daemon


@click.command()
@click.argument("service", nargs=-1, required=True, shell_complete=service_names)
@with_daemon
def command(daemon: Daemon, service: tuple[str, ...]) -> None:
    """Have SERVICE accept and receive again after "multid pause"."""
    for name in service:
        click.echo(f"{name}: {daemon.post('services', name, 'resume')['state']}")
