"""Mails that programs of this machine leave for the daemon, running or not: one file each in a drop directory. Pure.

The directory lies beside the spool (`mail.drop` beside `mail`), belongs to the daemon, and anybody may put a file into
it but neither list it nor take another's away (mode 1733). A file's name is a random number of 128 bits, so that only
the daemon finds it; its first line is JSON (sender, recipients), the rest the content, lines ended by CRLF. It is
written under a name with a dot in front, fsynced, renamed, the directory fsynced: what has its name is whole and
durable, and what has not is removed when it is old. Whose mail it is is told by the file's owner, not by its text.
"""

import json
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MODE = 0o1733
MAX_ENVELOPE = 1 << 20

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Dropped:
    """A mail in the drop directory: where its content begins in the file, which file that is, and who owns it."""

    path: Path
    identity: tuple[int, int]
    uid: int
    sender: str
    recipients: tuple[str, ...]
    offset: int


def drop_directory(spool: Path) -> Path:
    """Return the drop directory of a spool."""
    return spool.with_name(spool.name + ".drop")


def make_drop_directory(path: Path) -> None:
    """Make the directory if it is not there; OSError if that cannot be."""
    path.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # somebody else made it, and then it is his to open
        path.chmod(MODE)


def leave(directory: Path, sender: str, recipients: Sequence[str], content: bytes) -> None:
    """Leave a mail; when this returns it is durable. OSError if it is not, and then nothing is left behind."""
    name = secrets.token_hex(16)
    temporary = directory / f".{name}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # the daemon reads it, nobody else knows its name
            file.write(json.dumps({"sender": sender, "recipients": list(recipients)}).encode() + b"\n" + content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(directory / name)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync(directory)


def _sync(directory: Path) -> None:
    """Make the new name durable; whoever may not read the directory syncs the file system."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        os.sync()
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_envelope(path: Path) -> Dropped:
    """Return what a file in the drop directory says; ValueError if it is none that we left, OSError if unreadable."""
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            raise ValueError("not a file of its own")
        line = file.readline(MAX_ENVELOPE)
    try:
        envelope = json.loads(line)
        sender, recipients = envelope["sender"], tuple(envelope["recipients"])
    except (ValueError, KeyError, TypeError):
        raise ValueError("its first line is no envelope") from None
    texts = (sender, *recipients)
    if not recipients or not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("its envelope has no recipients, or what is no address")
    return Dropped(path, _identity(state), state.st_uid, sender, recipients, len(line))


def open_content(dropped: Dropped) -> int:
    """Open a mail again; ValueError if its owner has put another file, which may not be his, under its name."""
    descriptor = os.open(dropped.path, _FLAGS)
    if _identity(os.fstat(descriptor)) != dropped.identity:
        os.close(descriptor)
        raise ValueError("it has become another file")
    return descriptor


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
