"""`multid unescape`: escaped log text back into the bytes that were received."""

import sys
from typing import BinaryIO

import click


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
def command(file: BinaryIO) -> None:
    """Turn escaped log text back into the bytes that were received.

    FILE is read line by line (standard input without it), and the bytes are written to standard output.
    """
    from multid.lines.escape import unescape  # type: ignore[import-untyped, unused-ignore]

    for line in file:
        sys.stdout.buffer.write(unescape(line))
    sys.stdout.buffer.flush()
