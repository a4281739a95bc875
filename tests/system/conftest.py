"""One package and one machine for all tests of the system."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import multid
from tests.programs import need
from tests.system.machine import Machine

PROJECT = Path(multid.__file__).parent.parent


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package, built as a user builds it from a clean tree; or the one that MULTID_DEB names."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("systemd-nspawn", "dpkg-deb", "nsenter"):
        need(program)
    if "MULTID_DEB" in os.environ:
        return Path(os.environ["MULTID_DEB"])
    tree = tmp_path_factory.mktemp("package") / "multid"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(PROJECT / name, tree)
    for name in ("multid", "twisted", "config", "systemd", "packaging", "docs"):
        shutil.copytree(PROJECT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    built = subprocess.run(["make", "deb"], cwd=tree, capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    return next((tree / "dist").glob("*.deb"))


@pytest.fixture(scope="session")
def machine(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the package installed and multid running."""
    machine = Machine(tmp_path_factory.mktemp("system") / "machine")
    try:
        machine.put(package, "/opt/multid.deb")
        machine.run("dpkg", "--install", "/opt/multid.deb", within=120)
        machine.run("systemctl", "start", "multid")
        yield machine
    finally:
        machine.power_off()
