"""One file that is only ever appended to.

It is opened O_APPEND and O_NOFOLLOW and must be a regular file; folders below `root` are made (0750) and never
followed through a symbolic link. A file made here has exactly the mode asked for, whatever the umask; one that was
there keeps its own. A last record without its line end, left by a crash, is ended, so that no record is glued to it.
"""

import os
import stat
from collections.abc import Callable
from pathlib import PurePosixPath

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER_MODE = 0o750
_LF = 10


class LogFile:
    """An open file of records; `torn` says whether the last append ended inside a record."""

    def __init__(self, path: str, root: str, mode: int) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.mended = False
        self.torn = False
        self._is_named = False  # whether the name that the file has is durable, as far as we know
        self.folder = _open_folder(root, PurePosixPath(path).relative_to(root).parts[:-1])
        try:
            self._descriptor = _open_regular(self.name, self.folder, mode)
        except OSError:
            os.close(self.folder)
            raise
        status = os.fstat(self._descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.modified = status.st_mtime
        try:
            self._mend()
        except OSError:
            self.close()
            raise

    def _mend(self) -> None:
        if self.size and os.pread(self._descriptor, 1, self.size - 1) != b"\n":
            self.append(b"\n")
            self.mended = True

    def append(self, data: bytes | memoryview) -> int:
        """Append as much as the disk takes, and return how much that is; OSError where it takes nothing."""
        written = os.write(self._descriptor, data)
        self.size += written
        self.torn = data[written - 1] != _LF
        return written

    def has_moved(self) -> bool:
        """Whether the path no longer names this file; also looks whether it was truncated."""
        self.size = os.fstat(self._descriptor).st_size
        try:
            status = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return (status.st_dev, status.st_ino) != self.identity

    def rename(self, path: str) -> None:
        """Give the file another name in the same folder, in the place of any that has it."""
        name = os.path.basename(path)
        os.rename(self.name, name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        self.path, self.name = path, name
        self._is_named = False

    def syncing(self) -> Callable[[], None]:
        """Return what makes all that was appended so far durable, and the name; to be called once, in any thread."""
        file = os.dup(self._descriptor)
        folders = [] if self._is_named else [os.dup(self.folder)]
        self._is_named = True

        def sync() -> None:
            try:
                os.fdatasync(file)
                for folder in folders:
                    os.fsync(folder)
            finally:
                for descriptor in (file, *folders):
                    os.close(descriptor)

        return sync

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
        os.close(self.folder)


def _open_folder(root: str, parts: tuple[str, ...]) -> int:
    os.makedirs(root, _FOLDER_MODE, exist_ok=True)
    folder = os.open(root, _FOLDER)
    for part in parts:
        try:
            inner = _enter(part, folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _enter(part: str, folder: int) -> int:
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        os.mkdir(part, _FOLDER_MODE, dir_fd=folder)
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)


def _open_regular(name: str, folder: int, mode: int) -> int:
    try:
        descriptor = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    except FileExistsError:
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
    else:
        os.fchmod(descriptor, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return descriptor
