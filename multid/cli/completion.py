"""`multid completion`: what a shell needs to complete the commands."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    bash: source <(multid completion bash), zsh: the same after compinit, fish: multid completion fish | source
    """
    of_shell = get_completion_class(shell)
    assert of_shell is not None  # noqa: S101 - click has the three that may be chosen
    click.echo(of_shell(ctx.find_root().command, {}, "multid", "_MULTID_COMPLETE").source())
