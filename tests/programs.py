"""Programs of the distribution that tests talk to."""

import os
import shutil
from pathlib import Path

import pytest

from bench.obtain import MissingError, debian, libraries


def need(name: str) -> str:
    """Return the path of a program; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def unpacked(package: str) -> tuple[Path, dict[str, str]]:
    """Return the root of a package that is unpacked and not installed, and the environment its programs need.

    So daemons can be talked to that would fight over ports and files if they were installed side by side.
    """
    try:
        root = debian(package)
    except MissingError as error:
        pytest.skip(f"{package}: {error}")
    return root, os.environ | libraries(root)
