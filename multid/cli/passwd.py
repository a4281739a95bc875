"""`multid passwd`: a line for the file of users that SMTP AUTH asks."""

import sys

import bcrypt
import click

LONGEST = 72


@click.command()
@click.argument("user")
@click.option("--cost", type=click.IntRange(4, 16), default=12, show_default=True, help="Work factor of bcrypt.")
def command(user: str, cost: int) -> None:
    """Print a htpasswd (bcrypt) line for USER.

    The password is asked for twice, unseen; where standard input is no terminal it is the first line of it.
    """
    if not user or ":" in user or not user.isprintable():
        raise click.UsageError("a user name is printable and has no colon")
    password = _password().encode("utf-8")
    if not 0 < len(password) <= LONGEST or b"\0" in password:
        raise click.ClickException(f"a password has 1 to {LONGEST} octets")
    click.echo(f"{user}:{bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode('ascii')}")


def _password() -> str:
    if not _is_terminal():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _is_terminal() -> bool:
    return sys.stdin.isatty()
