"""When a file is put away, under which name, and what becomes of it. No Twisted; `tidy` may run in any thread.

A file `lines.log` is put away as `lines.log-20261120T112233.123Z`, the moment in UTC at which it was, or the next one
that is free, so names in order are files in order. Periods are those of UTC, as are the times in
the records. Compression writes beside the file, makes that durable, and only then takes the place of the original, so
that a crash at any moment leaves every line in at least one whole file; what it leaves half done is done again, as is
what is interrupted because the daemon ends.
"""

import calendar
import gzip
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from multid.lines import zstd

Every = Literal["hour", "day", "week"] | float
Compress = Literal["none", "gzip", "zstd"]

_SECONDS = {"hour": 3600.0, "day": 86400.0, "week": 604800.0}
_MONDAY = 4 * 86400.0  # 1970 began on a Thursday
_PIECE = 256 * 1024
_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_UNFINISHED = ".tmp"
_STAMP = r"-(\d{8}T\d{6})\.(\d{3})Z(\.gz|\.zst)?"


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Nobody waits for the work any more."""


@dataclass(frozen=True)
class Rotation:
    """When to put a file away, and what to keep of those: so many, so old (seconds), so large in all (octets)."""

    size: int | None = None
    every: Every | None = None
    keep: int | None = None
    age: float | None = None
    total: int | None = None
    compress: Compress = "none"

    def expires(self, began: float) -> float:
        """Return when the period ends in which a file was last written, in seconds since 1970."""
        if self.every is None:
            return float("inf")
        length = self.every if isinstance(self.every, float) else _SECONDS[self.every]
        shift = _MONDAY if self.every == "week" else 0.0
        return (began - shift) // length * length + length + shift


@dataclass(frozen=True)
class PutAway:
    """A file that was put away, by its name; `moment` is when, in seconds since 1970."""

    name: str
    moment: float
    suffix: str


def put_away(name: str, folder: int, when: float) -> str:
    """Give a file of an open folder its dated name, which it returns."""
    taken = {f"{found.moment:.3f}" for found in those_put_away(name, folder)}
    milliseconds = int(when * 1000)
    while f"{milliseconds / 1000:.3f}" in taken:
        milliseconds += 1
    seconds, milliseconds = divmod(milliseconds, 1000)
    dated = f"{name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}.{milliseconds:03d}Z"
    os.rename(name, dated, src_dir_fd=folder, dst_dir_fd=folder)
    return dated


def those_put_away(name: str, folder: int) -> list[PutAway]:
    """Return what was put away of a file, oldest first."""
    pattern = re.compile(re.escape(name) + _STAMP)
    found = [match for match in map(pattern.fullmatch, os.listdir(folder)) if match]
    return sorted((PutAway(match[0], _moment(match), match[3] or "") for match in found), key=lambda away: away.name)


def _moment(match: re.Match[str]) -> float:
    return calendar.timegm(time.strptime(match[1], "%Y%m%dT%H%M%S")) + int(match[2]) / 1000


def tidy(rotation: Rotation, name: str, folder: int, now: float, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Remove what is too many or too old of what was put away, compress the rest, and remove what is too much then.

    Raises Interrupted where it need not go on.

    Nobody else may list by a descriptor that shares its place in the folder with `folder`, as one from dup(2) does.
    """
    _remove_unfinished(name, folder)
    _remove(replace(rotation, total=None), name, folder, now)  # not worth compressing; a total is of compressed files
    if rotation.compress != "none":
        for away in those_put_away(name, folder):
            if not away.suffix:
                compress(away.name, folder, rotation.compress, goes_on)
    _remove(rotation, name, folder, now)


def _remove(rotation: Rotation, name: str, folder: int, now: float) -> None:
    for away in surplus(rotation, those_put_away(name, folder), folder, now):
        os.unlink(away.name, dir_fd=folder)


def surplus(rotation: Rotation, found: list[PutAway], folder: int, now: float) -> list[PutAway]:
    """Return what need not be kept: newest first, whatever is beyond a number, an age or a total."""
    remove = []
    total = 0
    moments: set[float] = set()  # a crash may have left a file and what it was compressed to: they are one
    for away in reversed(found):
        moments.add(away.moment)
        total += os.stat(away.name, dir_fd=folder).st_size
        too_many = rotation.keep is not None and len(moments) > rotation.keep
        too_old = rotation.age is not None and away.moment < now - rotation.age
        too_much = rotation.total is not None and total > rotation.total
        if too_many or too_old or too_much:
            remove.append(away)
    return remove


def _remove_unfinished(name: str, folder: int) -> None:
    pattern = re.compile(re.escape(name) + _STAMP + re.escape(_UNFINISHED))
    for found in os.listdir(folder):
        if pattern.fullmatch(found):
            os.unlink(found, dir_fd=folder)


def compress(name: str, folder: int, how: Compress, goes_on: Callable[[], bool]) -> None:
    """Put a compressed file in the place of one that was put away."""
    final = name + _SUFFIXES[how]
    unfinished = final + _UNFINISHED
    with _opened(name, os.O_RDONLY, folder) as source:
        mode = os.fstat(source.fileno()).st_mode & 0o777
        with _opened(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, folder) as target:
            os.fchmod(target.fileno(), mode)
            try:
                _COMPRESSORS[how](_pieces(source, goes_on), target)
                target.flush()
                os.fsync(target.fileno())
            except BaseException:
                os.unlink(unfinished, dir_fd=folder)
                raise
    os.rename(unfinished, final, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _opened(name: str, flags: int, folder: int) -> BinaryIO:
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "wb")


def _pieces(source: BinaryIO, goes_on: Callable[[], bool]) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        if not goes_on():
            raise Interrupted
        yield piece


def _gzip(pieces: Iterator[bytes], target: BinaryIO) -> None:
    with gzip.GzipFile("", "wb", 6, target, 0) as compressed:
        for piece in pieces:
            compressed.write(piece)


_COMPRESSORS: dict[str, Callable[[Iterator[bytes], BinaryIO], None]] = {"gzip": _gzip, "zstd": zstd.compress}
