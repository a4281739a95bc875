"""The `multid` command. Each file beside this one is a subcommand that holds a click command as `command`.

A subcommand is imported when it is called, and its module imports nothing heavy at its top (no Twisted, no pydantic,
nothing that pulls them in), so that `multid status` answers at once. Exit codes: 0 done, 1 failed, 2 wrong usage,
3 the daemon does not run, and those of sysexits.h, which are in `os` (`EX_CONFIG` and so on).
"""

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from multid.config.problems import did_you_mean

_SENDMAIL = {"sendmail": [], "mailq": ["-bp"]}
"""Names that a link to `multid` may have, and what they mean."""


class _Commands(click.Group):
    """A group of the modules here that do not begin with `_`; another `_` in their names is `-` in the command's."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Click API: under the name of sendmail or mailq the command is that."""
        name = Path(sys.argv[0]).name
        if args is None and name in _SENDMAIL:
            args = ["sendmail", *_SENDMAIL[name], *sys.argv[1:]]
        try:
            return super().main(args, *more, **extra)
        except OSError as error:  # as of a full disk below the standard output
            click.echo(f"multid: {error}", err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Click API."""
        return sorted(name.replace("_", "-") for name in _modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Click API."""
        module = cmd_name.replace("-", "_")
        if module not in _modules():
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click API."""
        if args and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(f"no command {args[0]!r}" + (f"; {hint}" if hint else ""), ctx)
        return super().resolve_command(ctx, args)


def _modules() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}


@click.group("multid", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="multid", prog_name="multid", message="%(prog)s %(version)s")
def main() -> None:
    """Line logger, time, echo, UDP services and a local SMTP relay: one process, one YAML file."""
