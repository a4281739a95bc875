"""`multid run`: becomes `twistd -n --pidfile= multid` of the same installation."""

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("-c", "--config", metavar="FILE", help="The configuration; without it, the first that is found.")
def command(config: str | None) -> None:
    """Run the daemon in the foreground."""
    twistd = Path(sys.executable).with_name("twistd")
    options = ["--config", config] if config else []
    try:
        os.execv(twistd, [str(twistd), "--nodaemon", "--pidfile=", "multid", *options])  # noqa: S606 - no shell is wanted
    except OSError as error:
        click.echo(f"multid: cannot run {twistd}: {error.strerror}", err=True)
        sys.exit(os.EX_OSERR)
