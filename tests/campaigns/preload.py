"""What is preloaded into a daemon: `Faults`, a disk that fails and a clock that is stepped, and `PowerLoss`."""

import contextlib
import functools
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.programs import need

HERE = Path(__file__).parent

WRITE, SYNC, NAME = 1, 2, 4
"""Kinds of calls: of octets, of synchronising, of names (create, rename, remove)."""

_OFFSET, _FAILURES = struct.Struct("q"), struct.Struct("iIII")


@functools.cache
def _built(name: str) -> str:
    folder = Path(tempfile.mkdtemp(prefix="multid-campaigns-"))
    source, library = HERE / f"{name}.c", folder / f"{name}.so"
    subprocess.run(
        [need("gcc"), "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"],
        check=True,
    )
    return str(library)


def preload(*what: "Faults | PowerLoss") -> tuple[str, ...]:
    """Return what the command of a daemon begins with; a call goes through them in this order."""
    variables = {name: value for each in what for name, value in each.variables.items()}
    libraries = " ".join(each.library for each in what)
    return ("env", f"LD_PRELOAD={libraries}", *(f"{name}={value}" for name, value in variables.items()))


class Faults:
    """The page `path`, shared with a daemon; its files below `folder` fail as it says."""

    def __init__(self, path: Path, folder: Path) -> None:
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.library = _built("faults")
        self.variables = {"FAULTS_PAGE": path, "FAULTS_FOLDER": folder}

    def fail(self, error: int, kinds: int, per_mille: int = 1000) -> None:
        """Make calls of these kinds fail, so many of a thousand."""
        self._page[12:20] = _FAILURES.pack(error, kinds, per_mille, 0)[4:12]
        self._page[8:12] = struct.pack("i", error)

    def heal(self) -> None:
        """Let every call do what it does."""
        self._page[8:12] = struct.pack("i", 0)

    @property
    def failed(self) -> int:
        """Calls that were made to fail, in all."""
        return int(_FAILURES.unpack(self._page[8:24])[3])

    def step_clock(self, offset: float) -> None:
        """Set the wall clock off by so many seconds, of the true time."""
        self._page[0:8] = _OFFSET.pack(int(offset * 1_000_000_000))


class PowerLoss:
    """What a power loss leaves of a folder; see powerloss.c.

    When the daemon has been killed, `happen` makes the folder what the disk held.
    """

    def __init__(self, folder: Path, beside: Path, *, seed: int, luck: int = 0) -> None:
        self._folder = folder
        self._shadow = beside
        shutil.rmtree(beside, ignore_errors=True)
        for part in ("files", "folders"):
            (beside / part).mkdir(parents=True)
        self.library = _built("powerloss")
        self.variables = {
            "POWERLOSS_FOLDER": folder,
            "POWERLOSS_SHADOW": beside,
            "POWERLOSS_LUCK": luck,
            "POWERLOSS_SEED": seed,
        }

    def happen(self) -> None:
        for path, folders, files in os.walk(self._folder):
            for name in files:
                os.unlink(os.path.join(path, name))
            names = self._shadow / "folders" / str(os.stat(path).st_ino)
            with contextlib.suppress(FileNotFoundError):
                for line in names.read_text().splitlines():
                    id_, _, name = line.partition(" ")
                    assert name not in folders
                    shutil.copyfile(self._shadow / "files" / id_, os.path.join(path, name))
