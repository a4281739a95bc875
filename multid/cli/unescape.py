"""`multid unescape`: escaped log text back into the bytes that were received."""

import sys
from typing import BinaryIO

import click


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--charset", default="utf-8", show_default=True, help="The charset of the logger that wrote it.")
def command(file: BinaryIO, charset: str) -> None:
    """Turn escaped log text back into the bytes that were received.

    FILE is read line by line (standard input without it), and the bytes are written to standard output.
    """
    from multid.lines.escape import check_charset, unescape

    try:
        charset = check_charset(charset)
    except LookupError as error:
        raise click.UsageError(f"--charset: {error.args[0]}") from None
    try:
        for line in file:
            sys.stdout.buffer.write(unescape(line, charset))
    except UnicodeError as error:
        raise click.ClickException(f"this is no log text of a logger with this charset: {error}") from None
    sys.stdout.buffer.flush()
