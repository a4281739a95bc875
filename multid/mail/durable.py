"""Files that are whole or not there: written under another name, fsynced, renamed, the directory fsynced. Pure."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableFile:
    """A file that nobody else may read, at `temporary` until `commit` moves it to `final`; both on one file system."""

    def __init__(self, temporary: Path, final: Path) -> None:
        self.temporary = temporary
        self.final = final
        self._descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, parts: Iterable[bytes]) -> None:
        """Write all of the parts, in order."""
        data = memoryview(b"".join(parts))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def commit(self) -> None:
        """Make the file durable under its final name; OSError if it is not, and then it is under neither name."""
        try:
            os.fsync(self._descriptor)
            self._close()
            self.temporary.rename(self.final)
            sync_directory(self.final.parent)
        except OSError:
            self.abort()
            self.final.unlink(missing_ok=True)
            raise

    def abort(self) -> None:
        """Remove the file."""
        self._close()
        self.temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)
