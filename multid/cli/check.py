"""`multid check`: every mistake of a configuration at once; 0 where there is none, 78 otherwise."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from multid.config.find import find_config
from multid.config.problems import ConfigErrors

if TYPE_CHECKING:
    from multid.config.load import Loaded


@click.command()
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: str | None, *, as_json: bool) -> None:
    """Show every mistake in a configuration.

    Without FILE it is the one that the daemon would take: $MULTID_CONFIG, ./multid.yaml, ./config/multid.yaml or
    /etc/multid/multid.yaml, the first that is there.
    """
    try:
        loaded = _load(find_config(file, os.environ, Path()))
    except ConfigErrors as errors:
        click.echo(_json(errors=errors) if as_json else f"{errors}\n{errors.summary()}", err=not as_json)
        sys.exit(os.EX_CONFIG)
    click.echo(_json(loaded) if as_json else _summary(loaded))


def _load(path: Path) -> "Loaded":
    from multid.config.load import load
    from multid.kinds import discover

    return load(path, {name: kind.config for name, kind in discover().items()})


def _json(loaded: "Loaded | None" = None, errors: ConfigErrors | None = None) -> str:
    report = {
        "ok": loaded is not None,
        "files": [str(path) for path in loaded.sources] if loaded else [],
        "services": {name: service.type for name, service in loaded.file.services.items()} if loaded else {},
        "problems": [problem.as_json() for problem in errors.problems] if errors else [],
    }
    return json.dumps(report, indent=2)


def _summary(loaded: "Loaded") -> str:
    services = loaded.file.services.values()
    off = sum(not service.enabled for service in services)
    switched_off = f", {off} of them switched off" if off else ""
    included = f" (with {len(loaded.sources) - 1} included)" if len(loaded.sources) > 1 else ""
    return f"{loaded.path}{included}: ok, {len(services)} service{'s' * (len(services) != 1)}{switched_off}"
