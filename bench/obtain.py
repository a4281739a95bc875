"""Gets what is measured and what measures: C programs from gcc, peers from Debian packages, Python packages from pip.

Each is made once and kept below `var/bench`. What cannot be had raises `MissingError` with the reason, and the table
shows it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.places import PEERS, SOURCES, WORK


class MissingError(Exception):
    """A peer or a tool cannot be had on this machine; the text says why."""


def compiled(source: str, *flags: str) -> Path:
    """The program built from `source` (a path below `bench/`, without `.c`), again when the source is newer."""
    origin = SOURCES / f"{source}.c"
    program = WORK / "built" / (Path(source).name + (".so" if "-shared" in flags else ""))
    if program.exists() and program.stat().st_mtime >= origin.stat().st_mtime:
        return program
    if not shutil.which("gcc"):
        raise MissingError("no gcc: apt-get install gcc libc6-dev")
    program.parent.mkdir(parents=True, exist_ok=True)
    _run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(origin), *flags], program.parent)
    return program


def debian(package: str) -> Path:
    """The root of `package` unpacked, together with what it depends on and this machine has not installed."""
    root = PEERS / package
    if root.exists():
        return root
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise MissingError("not a Debian: no apt-get")
    archives = PEERS / f"{package}.archives"
    unpacked = PEERS / f"{package}.unpacking"
    for folder in (archives, unpacked):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    _run(["apt-get", "download", "-q", package, *_uninstalled(package)], archives)
    for archive in archives.glob("*.deb"):
        _run(["dpkg", "-x", str(archive), str(unpacked)], archives)
    shutil.rmtree(archives)
    unpacked.rename(root)
    return root


def libraries(root: Path) -> dict[str, str]:
    """The environment that lets programs of an unpacked package find its libraries."""
    folders = {path.parent for path in root.rglob("*.so*")}
    return {"LD_LIBRARY_PATH": ":".join(sorted(map(str, folders)))}


def python(package: str) -> Path:
    """A folder for PYTHONPATH that holds `package`."""
    folder = PEERS / f"python-{package}"
    if not folder.exists():
        partial = folder.with_suffix(".installing")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--target", str(partial), package], partial)
        partial.rename(folder)
    return folder


def _uninstalled(package: str) -> list[str]:
    simulated = ["apt-get", "--simulate", "--no-install-recommends", "install", package]
    listed = _run(simulated, PEERS)
    return [name for name in re.findall(r"^Inst (\S+)", listed, re.MULTILINE) if name != package]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise MissingError(f"{command[0]}: {said[-1] if said else f'exit {done.returncode}'}")
    return done.stdout
