"""Reading what the configuration names, without ever waiting for somebody who writes."""

import os
from pathlib import Path


def read_octets(path: Path, most: int = -1) -> bytes:
    """Return what a file holds, up to so many octets; a FIFO into which nobody writes is empty."""
    with open(path, "rb", opener=_opened) as file:
        return file.read(most)


def _opened(path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd
