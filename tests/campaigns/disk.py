"""A daemon whose folder `disk` is a small file system of its own, in a mount namespace that nobody else sees."""

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process import Multid

_MOUNT = 'mount -t tmpfs -o "size=$0" tmpfs disk && exec "$@"'


@functools.cache
def _unshare() -> tuple[str, ...]:
    """Return how to get a namespace to mount in: as root, or as root of a user namespace."""
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = ("unshare", *options, "--propagation", "private")
        with contextlib.suppress(FileNotFoundError):
            tried = subprocess.run(
                [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
            )
            if tried.returncode == 0:
                return command
    return ()


class DiskMultid(Multid):
    """A daemon with `disk`, a tmpfs of so many MiB; its files are at `disk` for the test too."""

    def __init__(self, folder: Path, config: dict[str, Any], size: int) -> None:
        if not _unshare():
            pytest.skip("no mount namespace: needs root, or user namespaces")
        (folder / "disk").mkdir(exist_ok=True)
        super().__init__(folder, config, prefix=(*_unshare(), "sh", "-c", _MOUNT, f"{size}m"))

    @property
    def disk(self) -> Path:
        return Path(f"/proc/{self.process.pid}/root{self.folder}/disk")

    @property
    def free(self) -> int:
        state = os.statvfs(self.disk)
        return state.f_bavail * state.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Leave no more than so many octets free; what others free meanwhile is taken too."""
        descriptor = os.open(self.disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with contextlib.suppress(OSError):
                while self.free > leave:
                    os.write(descriptor, bytes(min(1 << 20, self.free - leave)))
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing below `disk` can be opened to be written meanwhile; what is open already can."""
        disk, prepared = str(self.folder / "disk"), str(self.folder / "read-only")
        Path(prepared).mkdir(exist_ok=True)
        # Made apart, where nobody writes, and put in its place at once.
        self._in_namespace("mount", "--bind", disk, prepared)
        self._in_namespace("mount", "-o", "remount,bind,ro", prepared)
        self._in_namespace("mount", "--bind", prepared, disk)
        try:
            yield
        finally:
            self._in_namespace("umount", "--lazy", disk)
            self._in_namespace("umount", "--lazy", prepared)

    def _in_namespace(self, *command: str) -> None:
        user = ["--user", "--preserve-credentials"] if "--map-root-user" in _unshare() else []
        subprocess.run(["nsenter", "--target", str(self.process.pid), "--mount", *user, *command], check=True)

    def relieve(self) -> None:
        (self.disk / "ballast").unlink()
