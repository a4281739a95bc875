"""The spool on a disk that fails: nothing is acknowledged that is not durable, and it goes on when the disk does."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multid.mail.interface import SpoolError
from multid.mail.queued import Delivery, Report, Update
from multid.mail.spool_sqlite import SqliteSpool
from tests.loop import Loop
from tests.mail.test_spool import INLINE, Rig, disk, envelope

__all__ = ["disk"]


class Failing:
    """A connection to the store whose next statements fail as the test says."""

    def __init__(self, real: Any, faults: list[tuple[str, Exception]]) -> None:
        self.real = real
        self.faults = faults

    def execute(self, statement: str, *values: Any) -> Any:
        if self.faults and statement.startswith(self.faults[0][0]):
            raise self.faults.pop(0)[1]
        return self.real.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def error(code: int) -> Exception:
    made = sqlite3.OperationalError("the disk is at fault")
    made.sqlite_errorcode = code
    return made


FULL, IOERR_FSYNC, READONLY, CANTOPEN = 13, 1034, 8, 14


@pytest.fixture
def faults(disk: Rig, monkeypatch: Any) -> list[tuple[str, Exception]]:
    faults: list[tuple[str, Exception]] = []
    rows = disk.spool._rows
    store = rows._store
    real = store.connect
    monkeypatch.setattr(store, "connect", lambda: Failing(real(), faults))
    rows._connection = Failing(rows._connection, faults)
    return faults


def refused(rig: Rig, content: bytes = b"x") -> SpoolError:
    with pytest.raises(SpoolError) as caught:
        rig.put(content)
    return caught.value


@pytest.mark.parametrize("statement", ["BEGIN", "COMMIT"])
@pytest.mark.parametrize("code", [FULL, IOERR_FSYNC, READONLY])
def test_a_batch_that_is_not_durable_is_not_acknowledged_and_the_next_is(disk: Rig, faults, statement, code):
    before = disk.put()
    faults.append((statement, error(code)))
    refusal = refused(disk)
    assert (refusal.reply.code, refusal.reply.enhanced) == (452, "4.3.1")
    after = disk.put()
    assert disk.ids() == [before, after]
    assert [mail.envelope.id for mail in disk.stored] == [before, after]


def test_a_write_that_finds_damage_is_not_acknowledged_and_no_mail_is_taken_after(disk: Rig, faults):
    faults.append(("COMMIT", error(sqlite3.SQLITE_CORRUPT)))
    assert refused(disk).is_damage
    with pytest.raises(SpoolError, match="is damaged"):
        disk.spool.begin(0)
    assert disk.ids() == disk.stored == []


def test_no_mail_of_a_batch_is_acknowledged_when_its_fsync_fails(disk: Rig, faults):
    faults.append(("COMMIT", error(IOERR_FSYNC)))
    results: list[Any] = []
    for _ in range(10):
        incoming = disk.spool.begin(0)
        incoming.append(b"x")
        incoming.commit(envelope(incoming.id)).addBoth(results.append)
    disk.loop.until(lambda: len(results) == 10)
    assert all(result.check(SpoolError) for result in results)
    assert disk.ids() == []


def test_a_commit_that_reached_the_disk_all_the_same_is_revoked(disk: Rig, faults, monkeypatch):
    """The log may hold what the failed fsync was about; whoever was refused sends again, so it must go."""
    real = disk.spool._rows._store.apply

    def apply(connection: Any, changes: Any) -> None:
        real(connection, changes)
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        faults.append(("COMMIT", error(IOERR_FSYNC)))
        monkeypatch.setattr(disk.spool._rows._store, "apply", real)

    monkeypatch.setattr(disk.spool._rows._store, "apply", apply)
    refused(disk)
    assert len(disk.ids()) == 1
    kept = disk.put()
    assert disk.ids() == [kept]


def test_a_report_that_was_refused_can_be_given_again(disk: Rig, faults):
    id_ = disk.put()
    report = Report(envelope(disk.spool.new_id(), sender="", size=1, origin="dsn"), b"x")
    update = Update(id_, reports=(report,), delete=True)
    faults.append(("COMMIT", error(FULL)))
    with pytest.raises(SpoolError):
        disk.wait(disk.spool.update(update))
    assert disk.ids() == [id_]
    disk.wait(disk.spool.update(update))
    assert disk.ids() == [report.envelope.id]


def test_a_store_that_cannot_be_opened_again_refuses_until_it_can(disk: Rig, faults, monkeypatch):
    store = disk.spool._rows._store
    real = store.connect
    faults.append(("COMMIT", error(FULL)))
    refused(disk)

    def connect() -> Any:
        raise error(CANTOPEN)

    monkeypatch.setattr(store, "connect", connect)
    refused(disk)
    refused(disk)
    monkeypatch.setattr(store, "connect", real)
    disk.put()
    assert len(disk.ids()) == 1


def test_a_change_at_fault_fails_alone(disk: Rig):
    results: list[Any] = []
    for helo in ("good", "\udcff", "good"):
        incoming = disk.spool.begin(0)
        incoming.append(b"x")
        incoming.commit(envelope(incoming.id, helo=helo)).addBoth(results.append)
    disk.loop.until(lambda: len(results) == 3)
    assert [result is None for result in results] == [True, False, True]
    assert results[1].value.reply.code == 451
    assert len(disk.ids()) == 2


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_a_content_file_that_cannot_be_written_refuses_its_mail_only(disk: Rig, monkeypatch, tmp_path, call):
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    content = b"y" * 2 * INLINE
    with monkeypatch.context() as patch:
        if call == "rename":
            patch.setattr(Path, "rename", fail)
        else:
            patch.setattr(f"multid.mail.durable.os.{call}", fail)
        refusal = refused(disk, content)
    assert refusal.reply.code == 452
    kept = disk.put(content)
    assert disk.content(kept) == content
    disk.loop.until(lambda: len(list((tmp_path / "mail" / "content").iterdir())) == 1)
    assert not list((tmp_path / "mail" / "incoming").iterdir())


def test_octets_after_an_error_are_dropped(disk: Rig, monkeypatch):
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(5, "I/O error")

    incoming = disk.spool.begin(0)
    monkeypatch.setattr("multid.mail.durable.os.write", fail)
    pause = incoming.append(b"y" * 1_000_000)
    if pause is not None:
        disk.wait(pause)
    disk.loop.until(lambda: incoming._error)
    assert incoming.append(b"y" * 1_000_000) is None
    assert incoming._waiting == 0
    with pytest.raises(SpoolError):
        disk.wait(incoming.commit(envelope(incoming.id)))


def test_a_row_that_cannot_be_written_takes_its_file_along(disk: Rig, faults, tmp_path):
    faults.append(("COMMIT", error(FULL)))
    refused(disk, b"y" * 2 * INLINE)
    disk.loop.until(lambda: not list((tmp_path / "mail" / "content").iterdir()))


def test_reading_that_fails_is_a_spool_error(disk: Rig, monkeypatch):
    def fail(*_: Any) -> Any:
        raise error(IOERR_FSYNC)

    monkeypatch.setattr("multid.mail.schema.load", fail)
    with pytest.raises(SpoolError):
        disk.wait(disk.spool.load("0" * 12))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path]).returncode:
        pytest.skip("a file system of our own needs root")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(path: Path) -> Path:
    ballast = path / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_full_disk_refuses_mail_and_takes_it_again_when_there_is_room(loop: Loop, small_disk: Path, size: int):
    rig = Rig(loop, lambda: SqliteSpool(loop, small_disk / "mail", minimum_free=0))
    before = rig.put(b"a" * size)
    ballast = fill(small_disk)
    codes = set()
    for _ in range(200):
        try:
            rig.put(b"b" * size)
        except SpoolError as refusal:
            codes.add(refusal.reply.code)
            break
    assert codes == {452}
    ballast.unlink()
    after = rig.put(b"c" * size)
    assert rig.content(before) == b"a" * size
    assert rig.content(after) == b"c" * size
    rig.wait(rig.spool.update(Update(after, {0: Delivery(attempts=1)})))
    rig.wait(rig.spool.close())
