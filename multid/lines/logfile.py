"""One file that is only ever appended to.

It is opened O_APPEND and O_NOFOLLOW and must be a regular file; folders below `root` are made (0750) and never
followed through a symbolic link. A file made here has exactly the mode asked for, whatever the umask; one that was
there keeps its own. A last record without its line end, left by a crash, is ended, so that no record is glued to it.

A name is durable only when its folder is synchronised, so `syncing` does that too where names were made. What the
kernel could not write to the disk it forgets, and says so once: to synchronise again would succeed without it. So
whoever means to try again has `kept` what was appended, and it is written once more, to its place.
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
        self.kept: list[tuple[int, memoryview]] = []  # what is not known to be on the disk, by its place in the file
        self.is_suspect = False  # whether the kernel may have forgotten some of that
        self.is_retired = False  # whether it is open only for the sake of that
        self.names_in = {os.path.dirname(path)}  # folders in which names are not known to be on the disk
        self.folder = self._open_folder(root)
        try:
            self._descriptor = self._open_regular(mode)
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
        self.names_in.add(os.path.dirname(path))

    def keep(self, data: memoryview) -> None:
        """Keep what was appended last until it is known to be on the disk."""
        self.kept.append((os.lseek(self._descriptor, 0, os.SEEK_CUR) - len(data), data))

    def syncing(self) -> Callable[[], None]:
        """Return what makes all that was appended so far durable; it may be called in any thread, once."""
        descriptor = os.dup(self._descriptor)
        again = self.kept[:] if self.is_suspect else []
        folders = list(self.names_in)

        def sync() -> None:
            try:
                _write_again(again, descriptor)
                os.fdatasync(descriptor)
                for folder in folders:
                    sync_path(folder)
            finally:
                os.close(descriptor)

        return sync

    def _open_folder(self, root: str) -> int:
        self.names_in.update(make_folders(root))
        folder, at = os.open(root, _FOLDER), root
        for part in PurePosixPath(self.path).relative_to(root).parts[:-1]:
            try:
                inner, is_new = _enter(part, folder)
            finally:
                os.close(folder)
            if is_new:
                self.names_in.add(at)
            folder, at = inner, os.path.join(at, part)
        return folder

    def _open_regular(self, mode: int) -> int:
        try:
            descriptor = os.open(self.name, _FLAGS | os.O_CREAT | os.O_EXCL, mode, dir_fd=self.folder)
        except FileExistsError:
            descriptor = os.open(self.name, _FLAGS, dir_fd=self.folder)
        else:
            os.fchmod(descriptor, mode)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{self.name} is not a regular file")
        return descriptor

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
        os.close(self.folder)


def make_folders(path: str) -> list[str]:
    """Make a folder, and return the folders that were given a name by that, for `sync_path`."""
    named_in = []
    at = path
    while at and not os.path.isdir(at):
        at = os.path.dirname(at)
        named_in.append(at)
    os.makedirs(path, _FOLDER_MODE, exist_ok=True)
    return named_in


def sync_path(path: str) -> None:
    """Make durable what was written to a file, or the names in a folder."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _enter(part: str, folder: int) -> tuple[int, bool]:
    """Open a folder in another; return it, and whether it had to be made."""
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder), False
    except FileNotFoundError:
        os.mkdir(part, _FOLDER_MODE, dir_fd=folder)
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder), True


def _write_again(kept: list[tuple[int, memoryview]], appending: int) -> None:
    """Write to their places what the disk may not have, unless somebody has truncated the file since."""
    if not kept:
        return
    size = os.fstat(appending).st_size
    descriptor = os.open(f"/proc/self/fd/{appending}", os.O_WRONLY | os.O_CLOEXEC)  # another writes at the end only
    try:
        for at, data in kept:
            done = 0 if at + len(data) <= size else len(data)
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], at + done)
    finally:
        os.close(descriptor)
