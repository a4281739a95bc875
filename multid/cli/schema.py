"""`multid schema`: the JSON Schema of the configuration, for editors."""

import json

import click


@click.command()
def command() -> None:
    """Print the JSON Schema of the configuration.

    Editors that know the YAML language server complete and check a file that begins with the line
    "# yaml-language-server: $schema=PATH".
    """
    from multid.config.schema import schema
    from multid.kinds import discover

    click.echo(json.dumps(schema({name: kind.config for name, kind in discover().items()}), indent=2))
