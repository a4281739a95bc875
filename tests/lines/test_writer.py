"""The file output: every line once, whole, in exactly one file, whatever the disk and other programs do."""

import gzip
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from multid.lines import syslog, writer
from multid.lines.framing import make_splitter
from multid.lines.ledger import Ledger
from multid.lines.logfiles import OPEN_FILES, FileOptions
from multid.lines.path import PathTemplate
from multid.lines.record import Batch, Source
from multid.lines.rotation import Rotation
from multid.lines.splitter import pack
from multid.lines.writer import FileWriter
from tests.programs import need


@contextmanager
def largest_file(octets: int) -> Iterator[None]:
    """A disk that takes no file beyond a size: writes end short there, and fail after that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Rig:
    """A file output, with a clock and threads that the test turns."""

    def __init__(self, path: Path | str, **options) -> None:
        self.clock = Clock()
        self.threads: list[tuple] = []
        self.held = False
        self.pressure: list[bool] = []
        self.ledger = Ledger()
        template = PathTemplate(str(path))
        self.options = FileOptions(template, **{"format": "raw", **options})
        self.output = FileWriter("log", self.options, self.clock, self.in_thread, self.pressure.append)
        self.output.open()
        self.output.start()

    def in_thread(self, work) -> Deferred[None]:
        if not self.held:
            return maybeDeferred(work)
        later: Deferred[None] = Deferred()
        self.threads.append((work, later))
        return later

    def run_threads(self) -> None:
        threads, self.threads = self.threads, []
        for work, later in threads:
            maybeDeferred(work).chainDeferred(later)

    def write(self, *lines: bytes, peer: str = "192.0.2.1", when: float = 0.0, parse=None) -> None:
        source = Source("log", f"{peer}:5", peer, parse=parse)
        packed = pack(list(lines), sum(map(len, lines)) + len(lines))
        self.ledger.received_octets += packed.octets
        self.output.write(Batch(when, source, packed, self.ledger))
        assert self.ledger.balanced

    def close(self) -> None:
        closing = Deferred.fromCoroutine(self.output.close())
        while self.threads:
            self.run_threads()
        assert closing.called
        assert self.ledger.balanced
        assert not self.ledger.pending


def lines(number: int, size: int = 20) -> list[bytes]:
    return [b"%0*d" % (size - 1, each) for each in range(number)]


def content(folder: Path) -> bytes:
    """All that was written to the files of a folder, in order."""
    names = sorted(path.name for path in folder.iterdir())
    names = names[1:] + names[:1]  # the current one, without a stamp, is the last
    whole = b""
    for name in names:
        data = (folder / name).read_bytes()
        whole += gzip.decompress(data) if name.endswith(".gz") else data
    return whole


def test_writing_goes_on_at_the_octet_where_the_disk_stopped(tmp_path, logged):
    """A write that ends inside a record is neither repeated nor left out, and two log lines tell the story."""
    path = tmp_path / "lines.log"
    rig = Rig(path)
    rig.write(*lines(10))
    with largest_file(333):
        rig.write(*lines(10))
        rig.write(*lines(10))
        assert path.stat().st_size == 333
        rig.clock.pump([0.5] * 4)
        assert path.stat().st_size == 333
        assert rig.output.status()["problem"] == "File too large"
    assert rig.pressure == [True]
    rig.clock.advance(0.5)
    assert rig.pressure == [True, False]
    assert path.read_bytes().splitlines() == lines(10) * 3
    assert rig.ledger.written_lines == 30
    said = [event["log_format"] for event in logged]
    assert len(said) == 2
    rig.close()


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12), limits=st.lists(st.integers(0, 900), max_size=6))
def test_nothing_is_lost_doubled_or_torn_wherever_the_disk_stops(tmp_path_factory, sizes, limits):
    path = tmp_path_factory.mktemp("full") / "lines.log"
    rig = Rig(path)
    sent: list[bytes] = []
    for number, size in enumerate(sizes):
        batch = [b"%d.%d" % (number, each) for each in range(size)]
        sent += batch
        with largest_file(limits[number] if number < len(limits) else 1 << 30):
            rig.write(*batch)
            rig.clock.advance(0.5)
    rig.clock.advance(0.5)
    assert path.read_bytes().splitlines() == sent
    assert rig.pressure in ([], [True, False] * (len(rig.pressure) // 2))
    rig.close()


def test_with_drop_only_the_cut_batch_waits_and_the_rest_is_counted(tmp_path):
    path = tmp_path / "lines.log"
    rig = Rig(path, on_full="drop")
    with largest_file(30):
        rig.write(*lines(3))
        rig.write(*lines(4))
        assert rig.pressure == []
    rig.clock.advance(0.5)
    rig.write(b"after")
    assert path.read_bytes().splitlines() == [*lines(3), b"after"]
    assert dict(rig.ledger.dropped_lines) == {"full": 4}
    rig.close()


def test_what_cannot_be_written_at_the_end_is_counted_and_said(tmp_path, logged):
    rig = Rig(tmp_path / "lines.log")
    with largest_file(50):
        rig.write(*lines(5))
        rig.write(*lines(5))
        rig.close()
    assert dict(rig.ledger.dropped_lines) == {"full": 8}
    assert rig.pressure == [True, False]
    assert [event["lines"] for event in logged if "lines" in event] == [8]


def test_a_folder_that_is_gone_makes_peers_wait_until_it_is_back(tmp_path):
    folder = tmp_path / "a"
    rig = Rig(folder / "{peer}.log")
    folder.rmdir()
    folder.write_text("in the way")
    rig.write(b"one")
    assert rig.pressure == [True]
    folder.unlink()
    rig.clock.advance(0.5)
    assert (folder / "192.0.2.1.log").read_bytes() == b"one\n"
    rig.close()


def test_a_torn_record_is_ended_at_the_start(tmp_path, logged):
    path = tmp_path / "lines.log"
    path.write_bytes(b"whole\ntorn")
    rig = Rig(path)
    rig.write(b"next")
    assert path.read_bytes() == b"whole\ntorn\nnext\n"
    assert len(logged) == 1
    rig.close()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("elsewhere"), os.mkfifo, lambda path: path.mkdir()])
def test_what_is_no_regular_file_is_refused(tmp_path, make):
    make(tmp_path / "lines.log")
    with pytest.raises(OSError, match=r"lines\.log|regular|No such|symbolic"):
        Rig(tmp_path / "lines.log")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_below_the_root_that_is_a_link_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "192.0.2.1").symlink_to(outside)
    rig = Rig(root / "{peer}" / "lines.log")
    rig.write(b"one")
    assert rig.pressure == [True]
    assert not list(outside.iterdir())
    rig.close()


def test_logrotate_create_is_followed_by_itself_within_a_second(tmp_path):
    path = tmp_path / "lines.log"
    rig = Rig(path)
    rig.write(b"old")
    path.rename(tmp_path / "lines.log.1")
    rig.write(b"still old")
    rig.clock.advance(1)
    rig.write(b"new")
    assert (tmp_path / "lines.log.1").read_bytes() == b"old\nstill old\n"
    assert path.read_bytes() == b"new\n"
    rig.close()


def test_reopen_follows_at_once_and_copytruncate_leaves_no_hole(tmp_path):
    path = tmp_path / "lines.log"
    rig = Rig(path)
    rig.write(b"one")
    path.rename(tmp_path / "lines.log.1")
    rig.output.reopen()
    rig.write(b"two")
    os.truncate(path, 0)
    rig.write(b"three")
    assert path.read_bytes() == b"three\n"
    rig.close()


def test_a_cut_record_is_finished_in_its_own_file(tmp_path):
    """Somebody rotates while the disk is full: both halves stay together."""
    path = tmp_path / "lines.log"
    rig = Rig(path)
    with largest_file(30):
        rig.write(*lines(3))
        path.rename(tmp_path / "lines.log.1")
        rig.output.reopen()
        rig.clock.advance(1)
    rig.clock.advance(1)
    rig.clock.advance(1)
    rig.write(b"next")
    assert (tmp_path / "lines.log.1").read_bytes().splitlines() == lines(3)
    assert path.read_bytes() == b"next\n"
    rig.close()


def test_rotation_by_size_puts_every_line_into_exactly_one_file(tmp_path):
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=200, keep=None))
    sent = lines(200)
    for at in range(0, 200, 25):
        rig.write(*sent[at : at + 25])
    assert content(tmp_path).splitlines() == sent
    assert max(path.stat().st_size for path in tmp_path.iterdir()) == 200
    assert len(list(tmp_path.iterdir())) == 20
    rig.close()


def test_a_record_larger_than_the_file_may_be_is_whole(tmp_path):
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=10, keep=None))
    sent = [b"x" * 30, b"y", b"z" * 30]
    rig.write(*sent)
    assert content(tmp_path).splitlines() == sent
    rig.close()


def test_rotation_survives_a_disk_that_stops_in_between(tmp_path):
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=200, keep=None))
    sent = lines(40)
    with largest_file(130):
        rig.write(*sent)
    rig.clock.advance(0.5)
    assert content(tmp_path).splitlines() == sent
    rig.close()


@pytest.mark.parametrize(("keep", "left"), [({"keep": 2}, 2), ({"total": 450}, 2), ({"age": -1.0}, 0), ({}, 4)])
def test_what_is_too_many_too_much_or_too_old_is_removed(tmp_path, keep, left):
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=200, **keep))
    rig.write(*lines(50))
    assert len([path for path in tmp_path.iterdir() if path.name != "lines.log"]) == left
    rig.close()


def test_compression_happens_aside_and_loses_nothing(tmp_path):
    rig = Rig(tmp_path / "lines.log", mode=0o604, rotation=Rotation(size=200, compress="gzip"))
    rig.held = True
    sent = lines(35)
    rig.write(*sent)
    assert content(tmp_path).splitlines() == sent
    while rig.threads:
        rig.run_threads()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.endswith(".gz") for name in names] == [False, True, True, True]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o604}
    assert content(tmp_path).splitlines() == sent
    rig.close()


@pytest.mark.parametrize("size", [1, 1000, 3_000_000])
def test_zstd_is_written_by_the_systems_library(tmp_path, size):
    line = bytes(range(32, 127)) * (size // 95 + 1)
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=1, compress="zstd"))
    rig.write(line[:size])
    rig.write(b"next")
    (away,) = tmp_path.glob("*.zst")
    done = subprocess.run([need("zstd"), "-dc", str(away)], capture_output=True, check=True)
    assert done.stdout == line[:size] + b"\n"
    rig.close()


def test_tidying_up_lists_the_folder_in_a_place_of_its_own(tmp_path, monkeypatch):
    """With one place for both, a rotation while files are compressed would have names come twice, or not at all."""
    places = []

    def tidied(rotation, name, folder, now, goes_on):
        (own,) = rig.output._files._files.values()
        before = os.lseek(own.folder, 0, os.SEEK_CUR)
        os.lseek(folder, 1, os.SEEK_SET)
        places.append((before, os.lseek(own.folder, 0, os.SEEK_CUR)))

    monkeypatch.setattr("multid.lines.logfiles.tidy", tidied)
    rig = Rig(tmp_path / "a.log", rotation=Rotation(keep=3))
    rig.write(b"one")
    rig.output.rotate()
    assert places
    assert {after for _, after in places} == {places[0][0]}
    rig.close()


ENDING = {"gzip": "gz", "zstd": "zst"}


@pytest.mark.parametrize("how", ENDING)
def test_compression_does_not_hold_up_the_end_and_is_done_at_the_next_start(tmp_path, how, logged):
    rotation = Rotation(size=600_000, compress=how)
    rig = Rig(tmp_path / "lines.log", rotation=rotation)
    rig.held = True
    sent = [b"x" * 1000 for _ in range(700)]
    for line in sent:
        rig.write(line)
    rig.close()
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert (len(names), names[0]) == (2, "lines.log")
    assert content(tmp_path).splitlines() == sent
    assert logged == []
    Rig(tmp_path / "lines.log", rotation=rotation).close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["lines.log", f"{names[1]}.{ENDING[how]}"]


def test_what_cannot_be_compressed_stays_as_it_is(tmp_path, logged):
    """The disk is full: nothing half done is left, and the lines are where they were."""
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=100_000, compress="gzip"))
    rig.held = True
    rig.write(*(os.urandom(50).hex().encode() for _ in range(1000)))
    before = content(tmp_path)
    with largest_file(1000):
        rig.run_threads()
    assert not list(tmp_path.glob("*.tmp"))
    assert content(tmp_path) == before
    assert [event["log_level"].name for event in logged] == ["critical"]
    rig.close()


def test_an_empty_file_of_a_moved_log_and_a_wanted_rotation(tmp_path):
    """Put away on demand: what is empty or cut stays, what was moved away is followed."""
    rig = Rig(tmp_path / "lines.log")
    assert rig.output.rotate() == []
    rig.write(b"one")
    (tmp_path / "lines.log").rename(tmp_path / "elsewhere")
    rig.output.rotate()
    rig.write(b"two")
    assert (tmp_path / "lines.log").read_bytes() == b"two\n"
    assert (tmp_path / "elsewhere").read_bytes() == b"one\n"
    rig.close()


def test_a_moved_file_whose_place_is_taken_is_written_on_until_it_is_free(tmp_path, logged):
    path = tmp_path / "lines.log"
    rig = Rig(path)
    rig.write(b"one")
    path.rename(tmp_path / "moved")
    path.mkdir()
    rig.clock.advance(1)
    rig.write(b"two")
    path.rmdir()
    rig.clock.advance(1)
    rig.write(b"three")
    assert (tmp_path / "moved").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\n"
    assert len(logged) == 1
    rig.close()


def test_what_a_crash_left_half_compressed_is_done_again_at_the_start(tmp_path):
    put_away = tmp_path / "lines.log-20260101T000000.000Z"
    put_away.write_bytes(b"old\n")
    (tmp_path / "lines.log-20260101T000000.000Z.gz.tmp").write_bytes(b"half")
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(every="day", compress="gzip"))
    assert [path.name for path in tmp_path.iterdir() if path.name != "lines.log"] == [put_away.name + ".gz"]
    assert gzip.decompress((tmp_path / (put_away.name + ".gz")).read_bytes()) == b"old\n"
    rig.close()


def test_rotation_by_time_begins_with_what_was_written_before_the_start(tmp_path, monkeypatch):
    path = tmp_path / "lines.log"
    path.write_bytes(b"yesterday\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    rig = Rig(path, rotation=Rotation(every="day", keep=None))
    rig.write(b"today")
    assert path.read_bytes() == b"today\n"
    assert content(tmp_path) == b"yesterday\ntoday\n"
    rig.close()


def test_an_idle_file_is_put_away_when_its_time_comes_and_an_empty_one_never(tmp_path, monkeypatch):
    path = tmp_path / "lines.log"
    rig = Rig(path, rotation=Rotation(every=60.0, keep=None))
    rig.clock.advance(1)
    assert len(list(tmp_path.iterdir())) == 1
    rig.write(b"one")
    now = __import__("time").time()
    monkeypatch.setattr("time.time", lambda: now + 61)
    rig.clock.advance(1)
    assert path.read_bytes() == b""
    assert content(tmp_path) == b"one\n"
    rig.close()


def test_where_no_next_file_can_be_opened_lines_go_on_in_the_old_one(tmp_path, logged):
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=100, keep=None))
    (tmp_path / "lines.log.next").mkdir()
    rig.write(*lines(20))
    assert (tmp_path / "lines.log").read_bytes().splitlines() == lines(20)
    assert len(logged) == 1
    rig.close()


def test_where_a_file_cannot_be_renamed_lines_go_on_in_it(tmp_path, monkeypatch, logged):
    def fails(*_: object) -> str:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr("multid.lines.logfiles.put_away", fails)
    rig = Rig(tmp_path / "lines.log", rotation=Rotation(size=100, keep=None))
    rig.write(*lines(20))
    assert (tmp_path / "lines.log").read_bytes().splitlines() == lines(20)
    assert [event["why"] for event in logged] == ["Permission denied"]
    rig.close()


@pytest.mark.parametrize("sync", ["always", 0.25])
def test_lines_are_synchronised_in_a_thread(tmp_path, monkeypatch, sync):
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    rig = Rig(tmp_path / "lines.log", sync=sync)
    rig.held = True
    rig.write(b"one")
    assert bool(rig.ledger.pending) == (sync == "always")
    rig.clock.advance(0.25)
    rig.write(b"two")
    assert synced == []
    rig.run_threads()
    assert synced == [8]
    rig.clock.advance(0.25)
    rig.run_threads()
    assert synced == [8, 8]
    rig.clock.advance(5)
    assert rig.threads == []
    assert rig.ledger.written_lines == 2
    rig.close()


def test_the_name_of_a_file_is_synchronised_with_what_first_went_to_it(tmp_path, monkeypatch):
    synced: list[str] = []
    for call in ("fdatasync", "fsync"):
        monkeypatch.setattr(f"os.{call}", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    rig = Rig(tmp_path / "lines.log", sync="always")
    for _ in range(2):
        rig.write(b"a line")
        rig.clock.advance(0)
    assert synced == [str(tmp_path / "lines.log"), str(tmp_path), str(tmp_path / "lines.log")]
    rig.output.rotate()
    rig.write(b"a line")
    rig.clock.advance(0)
    assert synced[3:] == [str(tmp_path / "lines.log"), str(tmp_path)]
    rig.close()


def test_with_sync_always_a_batch_is_settled_when_every_file_that_it_went_to_is_synchronised(tmp_path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    rig = Rig(tmp_path / "lines.log", sync="always", rotation=Rotation(size=100, keep=None))
    rig.held = True
    rig.write(*lines(12))
    rig.clock.advance(0)
    *others, rig.threads = [[thread] for thread in rig.threads]
    assert rig.ledger.pending
    rig.run_threads()
    assert sorted(synced) == [40, 100, 100]
    assert not rig.ledger.pending
    rig.threads = [thread for threads in others for thread in threads]
    rig.run_threads()
    rig.held = False
    rig.close()


def test_with_sync_always_peers_wait_for_a_disk_that_does_not_keep_up(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "UNSYNCED", 10)
    rig = Rig(tmp_path / "lines.log", sync="always")
    rig.held = True
    rig.write(b"eleven octets")
    rig.write(b"eleven octets")
    assert rig.pressure == [True]
    rig.clock.advance(0)
    rig.run_threads()
    assert rig.pressure == [True, False]
    rig.close()


class Disk:
    """A disk that can be told to fail; with `forgets`, what it was to take then is gone, as kernels may have it."""

    def __init__(self, monkeypatch) -> None:
        self.fails = self.forgets = False
        self.synced: list[str] = []
        monkeypatch.setattr("os.fdatasync", self.sync)
        monkeypatch.setattr("os.fsync", self.sync)

    def sync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self.forgets:
            size = os.path.getsize(path)
            with open(path, "r+b") as file:
                file.write(bytes(size))
        if self.fails:
            raise OSError(5, "Input/output error")
        self.synced.append(path)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def open_below(folder: Path) -> list[str]:
    """What this process has open there."""
    found = [Path("/proc/self/fd") / number for number in os.listdir("/proc/self/fd")]
    return [path for path in (os.readlink(link) for link in found if link.is_symlink()) if path.startswith(str(folder))]


def levels(logged) -> list[str]:
    return [event["log_level"].name for event in logged]


def test_what_the_kernel_forgot_is_written_once_more_to_its_place(tmp_path, disk, logged):
    """With `sync: always`, peers wait meanwhile, nothing counts as written, and two log lines tell of it."""
    rig = Rig(tmp_path / "lines.log", sync="always")
    rig.write(b"one")
    rig.clock.advance(0)
    disk.fails = disk.forgets = True
    rig.write(b"two")
    rig.write(b"three")
    for seconds in (0, 0.5, 0.5):
        rig.clock.advance(seconds)
    rig.write(b"four")
    assert (rig.pressure, levels(logged), rig.ledger.written_lines) == ([True], ["error"], 1)
    assert "not on the disk" in rig.output.status()["problem"]
    disk.forgets = disk.fails = False
    with open(tmp_path / "lines.log", "r+b") as file:
        file.write(b"one\n")  # only what was not known to be on the disk is ours to restore
    rig.clock.advance(0.5)
    rig.clock.advance(0)
    assert (tmp_path / "lines.log").read_bytes() == b"one\ntwo\nthree\nfour\n"
    assert (rig.pressure, levels(logged), rig.ledger.written_lines) == ([True, False], ["error", "warn"], 4)
    assert not rig.output.status()["problem"]
    rig.close()


def test_a_file_that_was_put_away_meanwhile_is_not_forgotten(tmp_path, disk):
    rig = Rig(tmp_path / "lines.log", sync="always")
    disk.fails = disk.forgets = True
    rig.write(b"one")
    rig.clock.advance(0)
    os.rename(tmp_path / "lines.log", tmp_path / "lines.log.1")
    rig.output.reopen()
    disk.fails = disk.forgets = False
    rig.write(b"two")
    rig.clock.advance(0.5)
    rig.clock.advance(0)
    assert (tmp_path / "lines.log.1").read_bytes() == b"one\n"
    assert (tmp_path / "lines.log").read_bytes() == b"two\n"
    assert rig.ledger.written_lines == 2
    rig.close()
    assert not open_below(tmp_path)


def test_nothing_is_written_again_into_a_file_that_was_truncated(tmp_path, disk):
    rig = Rig(tmp_path / "lines.log", sync="always")
    disk.fails = True
    rig.write(b"one")
    rig.clock.advance(0)
    os.truncate(tmp_path / "lines.log", 0)
    disk.fails = False
    rig.clock.advance(0.5)
    assert (tmp_path / "lines.log").read_bytes() == b""
    rig.close()


def test_what_never_gets_to_the_disk_is_counted_and_said(tmp_path, disk, logged):
    rig = Rig(tmp_path / "lines.log", sync="always")
    disk.fails = True
    rig.write(b"one")
    rig.clock.advance(0)
    rig.write(b"two")
    rig.close()
    assert rig.ledger.dropped_lines == {"unsynced": 1, "full": 1}
    assert levels(logged) == ["error"] * 3


def test_with_a_duration_a_failed_disk_is_said_and_lines_go_on(tmp_path, disk, logged):
    rig = Rig(tmp_path / "lines.log", sync=0.25)
    disk.fails = True
    for _ in range(3):
        rig.write(b"line")
        rig.clock.advance(0.25)
    assert (rig.pressure, levels(logged), rig.ledger.written_lines) == ([], ["error"], 3)
    disk.fails = False
    rig.write(b"line")
    rig.clock.advance(0.25)
    assert levels(logged) == ["error", "warn"]
    assert not rig.output.status()["problem"]
    rig.close()


def test_no_more_files_are_open_for_the_sake_of_a_slow_disk_than_may_be(tmp_path, disk):
    """Where each line has a path of its own, and no synchronisation has ended yet."""
    rig = Rig(tmp_path / "{peer}.log", sync=60.0)
    rig.held = True
    for number in range(200):
        rig.write(b"line", peer=f"host{number}")
    assert len(open_below(tmp_path)) <= 2 * 2 * OPEN_FILES + 4  # a file and its folder
    assert len(disk.synced) >= 2 * (200 - 2 * OPEN_FILES - 1)
    rig.close()
    assert len({path for path in disk.synced if path.endswith(".log")}) == 200
    assert not open_below(tmp_path)


def test_a_retired_file_that_the_disk_did_not_take_is_closed_and_said(tmp_path, disk, logged):
    rig = Rig(tmp_path / "lines.log", sync=0.25)
    rig.write(b"one")
    os.rename(tmp_path / "lines.log", tmp_path / "lines.log.1")
    rig.output.reopen()
    disk.fails = True
    rig.clock.advance(0.25)
    assert levels(logged) == ["error"]
    disk.fails = False
    rig.close()
    assert not open_below(tmp_path)


@pytest.mark.parametrize(("sync", "durable"), [("always", True), (0.25, True), ("never", False)])
def test_names_are_durable_where_lines_are(tmp_path, disk, sync, durable):
    """A new file's folder is synchronised, those made for it, and that in which one was put away."""
    folder = tmp_path / "made" / "log"
    rig = Rig(str(folder / "{peer}" / "lines.log"), sync=sync, rotation=Rotation(size=100, keep=None))
    rig.write(*lines(4))
    rig.clock.advance(0.25)
    expected = [tmp_path, tmp_path / "made", folder, folder / "192.0.2.1", folder / "192.0.2.1" / "lines.log"]
    assert set(disk.synced) == (set(map(str, expected)) if durable else set())
    disk.synced.clear()
    rig.write(*lines(4))
    rig.clock.advance(0.25)
    everything = {str(path) for path in (folder / "192.0.2.1").iterdir()}
    assert len(everything) == 2
    assert set(disk.synced) == (everything | {str(expected[-2])} if durable else set())
    rig.close()


def test_a_path_may_depend_on_peer_host_and_time(tmp_path):
    rig = Rig(tmp_path / "{service}" / "%Y-%m-%d" / "{peer}-{host}.log")
    rig.write(b"<13>Jan  1 00:00:00 ../../evil app: x", b"<13>plain", when=86400.0, parse=syslog.parse)
    folder = tmp_path / "log" / "1970-01-02"
    assert sorted(path.name for path in folder.iterdir()) == ["192.0.2.1-192.0.2.1.log", "192.0.2.1-_._.._evil.log"]
    assert (folder / "192.0.2.1-192.0.2.1.log").read_bytes() == b"<13>plain\n"
    assert rig.ledger.written_lines == 2
    rig.close()


def test_only_so_many_files_stay_open_and_none_loses_a_line(tmp_path):
    rig = Rig(tmp_path / "{peer}.log")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for number in range(100):
            rig.write(b"x", peer=f"192.0.2.{number}")
    assert len(os.listdir("/proc/self/fd")) - before <= 2 * 32
    assert all(path.read_bytes() == b"x\nx\n" for path in tmp_path.iterdir())
    rig.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_octets_of_a_stream_are_all_accounted_for(tmp_path):
    rig = Rig(tmp_path / "lines.log", format="text")
    splitter = make_splitter("auto", max_line=16, drop=rig.ledger.drop)
    data = b"one\r\n" + b"x" * 40 + b"\n\xff\n"
    rig.ledger.received_octets += len(data)
    for some in [*splitter.feed(data), *splitter.end()]:
        rig.output.write(Batch(0.0, Source("log", "p", "p"), some, rig.ledger))
    rig.close()
    assert rig.ledger.written_octets == len(data)
    assert (tmp_path / "lines.log").read_bytes().count(b"\n") == rig.ledger.written_lines == 5
