"""What every spool promises, asked of each; and what only the one on disk can show."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from multid.mail import schema
from multid.mail.address import Pattern
from multid.mail.envelope import Envelope, Recipient
from multid.mail.group_commit import PATIENCE
from multid.mail.interface import Spool, SpoolError
from multid.mail.queued import Content, Delivery, DeliveryState, MailState, Query, QueuedMail, Report, Update, new_mail
from multid.mail.reply import Reply
from multid.mail.spool import MemorySpool, NullSpool
from multid.mail.spool_sqlite import SqliteSpool
from tests.loop import Loop

INLINE = 1000


class Rig:
    """A spool and the loop that turns it."""

    def __init__(self, loop: Loop, make: Callable[[], Spool]) -> None:
        self.loop = loop
        self.make = make
        self.spool: Any = make()
        self.stored: list[QueuedMail] = []
        self.open()

    def open(self) -> None:
        self.spool.stored = self.stored.append
        self.wait(self.spool.open())

    def wait(self, awaitable: Any) -> Any:
        return self.loop.result(awaitable)

    def put(self, content: bytes = b"Subject: x\r\n\r\nHello\r\n", **fields: Any) -> str:
        incoming = self.spool.begin(len(content))
        incoming.append(content)
        self.wait(incoming.commit(envelope(incoming.id, size=len(content), **fields)))
        return incoming.id

    def get(self, id_: str) -> QueuedMail:
        mail = self.wait(self.spool.load(id_))
        assert mail is not None
        return mail

    def content(self, id_: str) -> bytes:
        content = self.get(id_).content
        if content.data is not None:
            return content.data
        with open(content.path, "rb") as file:
            return file.read()

    def ids(self, **query: Any) -> list[str]:
        return [mail.envelope.id for mail in self.wait(self.spool.select(Query(**query)))]


def envelope(id_: str, size: int = 0, **fields: Any) -> Envelope:
    values = {"sender": "a@example.org", "recipients": (Recipient("b@example.com"),), "received_at": 5.0} | fields
    return Envelope(id=id_, size=size, **values)


@pytest.fixture
def disk(loop: Loop, tmp_path: Any) -> Iterator[Rig]:
    rig = Rig(loop, lambda: SqliteSpool(loop, tmp_path / "mail", inline=INLINE, minimum_free=0))
    yield rig
    rig.wait(rig.spool.close())


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: Any, loop: Loop) -> Iterator[Rig]:
    if request.param == "sqlite":
        yield request.getfixturevalue("disk")
    else:
        yield Rig(loop, MemorySpool)


FULL = {
    "recipients": (
        Recipient("b@example.com", frozenset({"FAILURE", "DELAY"}), "rfc822;b@example.com"),
        Recipient("ü@example.com", frozenset({"NEVER"})),
    ),
    "sender": "ä@example.org",
    "body": "8BITMIME",
    "smtputf8": True,
    "ret": "HDRS",
    "envid": "QQ 1",
    "origin": "sendmail",
    "peer": "127.0.0.1:5",
    "helo": "host",
    "auth_user": "u",
    "tls": "TLSv1.3",
}


def test_a_mail_is_there_as_it_was_committed_and_due_when_it_was_received(rig: Rig):
    id_ = rig.put(**FULL)
    mail = rig.get(id_)
    assert mail.envelope == envelope(id_, size=mail.content.size, **FULL)
    assert mail.deliveries == (Delivery(due=5.0),) * 2
    assert (mail.state, mail.note, mail.crashes) == (MailState.READY, "", 0)
    assert rig.content(id_) == b"Subject: x\r\n\r\nHello\r\n"


def test_what_is_stored_is_told(rig: Rig):
    id_ = rig.put()
    assert [mail.envelope.id for mail in rig.stored] == [id_]
    assert rig.stored == [rig.get(id_)]


@pytest.mark.parametrize("size", [0, 1, INLINE, INLINE + 1, 100 * INLINE])
def test_contents_of_any_size_come_back_whole(rig: Rig, size: int):
    content = os.urandom(size)
    assert rig.content(rig.put(content)) == content


def test_a_content_may_come_in_pieces(rig: Rig):
    content = os.urandom(50 * INLINE)
    incoming = rig.spool.begin(0)
    for start in range(0, len(content), 777):
        pause = incoming.append(content[start : start + 777])
        if pause is not None:
            rig.wait(pause)
    rig.wait(incoming.commit(envelope(incoming.id, size=len(content))))
    assert rig.content(incoming.id) == content


def test_a_content_that_cannot_be_removed_is_said_and_does_not_hold_up_its_mail(disk: Rig, tmp_path: Any, logged: Any):
    id_ = disk.put(b"x" * 2 * INLINE)
    content = tmp_path / "mail" / "content" / id_
    content.unlink()
    content.mkdir()
    disk.wait(disk.spool.update(Update(id_, delete=True)))
    assert disk.ids() == []
    assert [event["why"] for event in logged if "why" in event] == [f"[Errno 21] Is a directory: '{content}'"]
    content.rmdir()


def test_an_aborted_mail_leaves_nothing(rig: Rig):
    incoming = rig.spool.begin(0)
    incoming.append(b"x" * 100)
    incoming.abort()
    incoming.abort()
    assert rig.ids() == []


def test_ids_grow(rig: Rig):
    ids = [rig.spool.begin(0).id for _ in range(2000)]
    assert ids == sorted(set(ids))


def test_a_captured_mail_is_stored_as_such(rig: Rig):
    rig.spool.new_state = MailState.CAPTURED
    assert rig.get(rig.put()).state is MailState.CAPTURED


def test_there_is_no_mail_of_an_unknown_id(rig: Rig):
    assert rig.wait(rig.spool.load("0" * 12)) is None


def test_deliveries_are_updated_by_place(rig: Rig):
    id_ = rig.put(**FULL)
    later = Delivery(DeliveryState.OPEN, 99.5, 3, Reply(450, "4.2.1", "B\u00fcsy\nnow"), "hop:25", warned=True)
    rig.wait(rig.spool.update(Update(id_, {1: later})))
    assert rig.get(id_).deliveries == (Delivery(due=5.0), later)
    assert rig.get(id_).open == [0, 1]


@pytest.mark.parametrize("count", [1, 20, 21, 100])
def test_all_recipients_come_back_in_their_order(rig: Rig, count: int):
    recipients = tuple(Recipient(f"{n}@example.com") for n in range(count))
    assert rig.get(rig.put(recipients=recipients)).envelope.recipients == recipients


def test_a_recipient_that_is_done_is_not_open(rig: Rig):
    id_ = rig.put(**FULL)
    rig.wait(rig.spool.update(Update(id_, {0: Delivery(DeliveryState.SENT), 1: Delivery(DeliveryState.FAILED)})))
    assert rig.get(id_).open == []
    assert rig.wait(rig.spool.scan()) == [(id_, MailState.READY, 0.0)]


def test_due_is_set_for_open_recipients_only(rig: Rig):
    id_ = rig.put(**FULL)
    rig.wait(rig.spool.update(Update(id_, {0: Delivery(DeliveryState.SENT, due=1.0)})))
    rig.wait(rig.spool.update(Update(id_, due=77.0)))
    assert [delivery.due for delivery in rig.get(id_).deliveries] == [1.0, 77.0]


def test_state_note_and_crashes_are_updated(rig: Rig):
    id_ = rig.put()
    rig.wait(rig.spool.update(Update(id_, state=MailState.HELD, note="why", crashes=2)))
    mail = rig.get(id_)
    assert (mail.state, mail.note, mail.crashes) == (MailState.HELD, "why", 2)
    rig.wait(rig.spool.update(Update(id_, due=6.0)))
    assert rig.get(id_).state is MailState.HELD


@pytest.mark.parametrize("size", [10, 100 * INLINE])
def test_a_deleted_mail_is_gone(rig: Rig, size: int):
    id_ = rig.put(b"x" * size)
    rig.wait(rig.spool.update(Update(id_, delete=True)))
    assert rig.wait(rig.spool.load(id_)) is None
    assert rig.ids() == []


def test_an_update_of_a_mail_that_is_gone_changes_nothing(rig: Rig):
    rig.wait(rig.spool.update(Update("0" * 12, {0: Delivery()}, state=MailState.HELD, due=1.0, crashes=1)))
    assert rig.ids() == []


def test_a_report_enters_with_the_update_and_is_told(rig: Rig):
    id_ = rig.put()
    report = Report(envelope(rig.spool.new_id(), sender="", size=2, origin="dsn"), b"x\n")
    rig.wait(rig.spool.update(Update(id_, reports=(report,), delete=True)))
    assert rig.ids() == [report.envelope.id]
    assert rig.content(report.envelope.id) == b"x\n"
    assert rig.stored[-1] == rig.get(report.envelope.id)


def test_scan_tells_the_earliest_open_time(rig: Rig):
    first = rig.put(**FULL)
    second = rig.put()
    rig.wait(rig.spool.update(Update(first, {0: Delivery(due=9.0), 1: Delivery(due=8.0)})))
    rig.wait(rig.spool.update(Update(second, state=MailState.HELD)))
    assert rig.wait(rig.spool.scan()) == [(first, MailState.READY, 8.0), (second, MailState.HELD, 5.0)]


def test_select_filters_and_pages(rig: Rig):
    a = rig.put(sender="root@host.test", recipients=(Recipient("x@one.test"), Recipient("y@two.test")))
    b = rig.put(sender="")
    c = rig.put(sender="Root@other.test", recipients=(Recipient("Z@TWO.test"),))
    rig.wait(rig.spool.update(Update(c, state=MailState.HELD)))
    assert rig.ids() == [a, b, c]
    assert rig.ids(limit=2) == [a, b]
    assert rig.ids(after=b) == [c]
    assert rig.ids(sender="root@*") == [a, c]
    assert rig.ids(sender="<>") == [b]
    assert rig.ids(recipient="*@two.test") == [a, c]
    assert rig.ids(recipient="*@two.test", sender="*@host.test") == [a]
    assert rig.ids(state=MailState.HELD) == [c]
    assert rig.ids(ids=(a, b), after=a) == [b]


@pytest.mark.parametrize(
    "pattern", ["*", "<>", "*@x.test", "a%b@*", "A_B@*", "*\\*@*", "*'*@*", "MÜLLER@*", "k@*", "*@strasse.test"]
)
def test_select_takes_a_pattern_as_a_route_does(rig: Rig, pattern: str):
    addresses = ["", "a%b@x.test", "axb@x.test", "a_b@X.test", "a\\b@x.test", "o'k@x.test", "müller@x.test"]
    addresses += ["\N{KELVIN SIGN}@x.test", "K@x.test", "m@straße.test"]
    ids = {rig.put(sender=one, recipients=(Recipient(one or "z"), Recipient("y"))): one for one in addresses}
    matches = Pattern(pattern).matches
    assert rig.ids(sender=pattern) == [id_ for id_, address in ids.items() if matches(address)]
    assert rig.ids(recipient=pattern) == [
        id_ for id_, address in ids.items() if matches(address or "z") or matches("y")
    ]


def test_a_folder_among_its_files_does_not_keep_a_spool_from_opening(disk: Rig, tmp_path: Any):
    disk.wait(disk.spool.close())
    strange = [tmp_path / "mail" / where / "folder" for where in ("incoming", "content")]
    for path in strange:
        path.mkdir()
    os.mkfifo(tmp_path / "mail" / "incoming" / "pipe")
    disk.spool = disk.make()
    disk.open()
    assert disk.ids() == []
    assert all(path.is_dir() for path in strange)
    assert not (tmp_path / "mail" / "incoming" / "pipe").exists()


def test_a_long_queue_is_listed_page_by_page(disk: Rig, tmp_path: Any):
    """Each mail once, the oldest first, also where few of many fit."""
    senders = [f"{number % 500}@x.test" for number in range(5000)]
    mails = [new_mail(envelope(disk.spool.new_id(), sender=sender), Content(1, b"x")) for sender in senders]
    with sqlite3.connect(tmp_path / "mail" / "spool.db") as database:
        schema.insert(database, [schema.new_mail(mail) for mail in mails])
    database.close()
    ids = [mail.envelope.id for mail in mails]
    found: list[str] = []
    while page := disk.ids(after=found[-1] if found else "", limit=1000):
        assert len(page) == 1000
        found += page
    assert found == ids == [id_ for id_, _, _ in disk.wait(disk.spool.scan())]
    assert disk.ids(sender="7@x.test", limit=5) == ids[7:2500:500]
    assert disk.ids(sender="7@x.test", after=ids[2007]) == ids[2507::500]


def test_select_reads_no_content(rig: Rig):
    id_ = rig.put(b"x" * 10, received_at=1795593996.1234567)
    (mail,) = rig.wait(rig.spool.select(Query(ids=(id_,))))
    assert (mail.content.size, mail.content.data) == (10, None)
    assert replace(mail, content=rig.get(id_).content) == rig.get(id_)


def test_many_mails_at_once_share_a_transaction(disk: Rig):
    transactions: list[str] = []
    real = disk.spool._rows._transaction
    disk.spool._rows._transaction = lambda changes: transactions.append(len(changes)) or real(changes)
    done = []
    for _ in range(50):
        incoming = disk.spool.begin(0)
        incoming.append(b"x")
        incoming.commit(envelope(incoming.id)).addCallback(done.append)
    disk.loop.until(lambda: len(done) == 50)
    assert transactions == [50]


def test_the_next_transaction_waits_a_moment_for_as_many_as_shared_the_last(disk: Rig):
    done: list[Any] = []

    def commit(count: int) -> None:
        for _ in range(count):
            incoming = disk.spool.begin(0)
            incoming.commit(envelope(incoming.id)).addCallback(done.append)

    def waits() -> bool:
        before = len(done)
        for _ in range(5):
            disk.loop.doIteration(0.01)
            disk.loop.runUntilCurrent()
        return len(done) == before

    commit(3)
    disk.loop.until(lambda: len(done) == 3)
    commit(4)
    disk.loop.until(lambda: len(done) == 7)
    commit(3)
    assert waits()
    commit(1)
    disk.loop.until(lambda: len(done) == 11)
    commit(2)
    assert waits()
    disk.loop.advance(PATIENCE)
    disk.loop.until(lambda: len(done) == 13)
    commit(1)
    disk.loop.until(lambda: len(done) == 14)
    commit(4)
    disk.loop.until(lambda: len(done) == 18)
    commit(1)
    disk.wait(disk.spool.close())
    assert len(done) == 19, "the end waits for nobody"
    disk.spool = disk.make()
    disk.open()


def test_the_null_spool_acknowledges_and_forgets(loop: Loop):
    rig = Rig(loop, NullSpool)
    rig.put()
    assert rig.ids() == []


# What only a disk can show


def again(rig: Rig) -> Rig:
    """Close the spool, and open what it left."""
    rig.wait(rig.spool.close())
    rig.spool = rig.make()
    rig.open()
    return rig


def test_everything_is_there_after_a_restart(disk: Rig):
    small, large = disk.put(**FULL), disk.put(b"y" * 50 * INLINE)
    before = disk.get(small)
    again(disk)
    assert disk.get(small) == before
    assert disk.content(large) == b"y" * 50 * INLINE


def test_a_second_spool_on_the_path_is_refused_by_name(disk: Rig):
    other = disk.make()
    with pytest.raises(SpoolError, match=f"process {os.getpid()} uses it"):
        disk.wait(other.open())
    disk.put()


def test_the_path_can_be_used_again_after_a_refusal_and_a_close(disk: Rig):
    with pytest.raises(SpoolError):
        disk.wait(disk.make().open())
    again(disk).put()


def test_a_spool_of_a_newer_version_is_left_alone(disk: Rig, tmp_path: Any):
    disk.put()
    disk.wait(disk.spool.close())
    database = sqlite3.connect(tmp_path / "mail" / "spool.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SpoolError, match="version is 99"):
        disk.wait(disk.make().open())
    database = sqlite3.connect(tmp_path / "mail" / "spool.db")
    database.execute("PRAGMA user_version = 1")
    database.close()
    disk.spool = disk.make()
    disk.spool = disk.make()
    disk.open()
    assert len(disk.ids()) == 1


def test_a_file_that_is_no_database_is_an_error(loop: Loop, tmp_path: Any):
    (tmp_path / "spool.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(SpoolError, match="not a database"):
        loop.result(SqliteSpool(loop, tmp_path).open())


def test_a_path_that_cannot_be_made_is_an_error(loop: Loop, tmp_path: Any):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpoolError):
        loop.result(SqliteSpool(loop, tmp_path / "file" / "mail").open())


def files(path: Any) -> list[str]:
    return sorted(entry.name for folder in ("content", "incoming") for entry in (path / "mail" / folder).iterdir())


def test_files_are_private_and_gone_with_their_mail(disk: Rig, tmp_path: Any):
    id_ = disk.put(b"y" * 2 * INLINE)
    assert files(tmp_path) == [id_]
    assert (tmp_path / "mail" / "content" / id_).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700
    disk.wait(disk.spool.update(Update(id_, delete=True)))
    assert files(tmp_path) == []


def test_an_aborted_large_mail_leaves_no_file(disk: Rig, tmp_path: Any):
    incoming = disk.spool.begin(0)
    incoming.append(b"y" * 2 * INLINE)
    disk.loop.until(lambda: files(tmp_path))
    incoming.abort()
    disk.loop.until(lambda: not files(tmp_path))
    incoming.append(b"late")
    again(disk)
    assert disk.ids() == []


def test_a_mail_aborted_in_the_middle_of_a_write_leaves_no_file(disk: Rig, tmp_path: Any):
    incoming = disk.spool.begin(0)
    incoming.append(b"y" * 2 * INLINE)
    incoming.abort()
    again(disk)
    assert files(tmp_path) == []


def test_what_a_crash_left_is_swept(disk: Rig, tmp_path: Any):
    kept = disk.put(b"y" * 2 * INLINE)
    (tmp_path / "mail" / "incoming" / "0123456789AB").write_bytes(b"half")
    (tmp_path / "mail" / "content" / "0123456789AB").write_bytes(b"no row")
    again(disk)
    assert files(tmp_path) == [kept]


def test_a_mail_whose_file_has_gone_is_set_aside(disk: Rig, tmp_path: Any):
    lost, kept = disk.put(b"y" * 2 * INLINE), disk.put(b"z" * 2 * INLINE)
    (tmp_path / "mail" / "content" / lost).unlink()
    again(disk)
    assert (disk.get(lost).state, disk.get(kept).state) == (MailState.QUARANTINED, MailState.READY)
    assert "missing" in disk.get(lost).note


def test_a_sender_faster_than_the_disk_is_paused(disk: Rig):
    incoming = disk.spool.begin(0)
    pauses = [pause for _ in range(8) if (pause := incoming.append(b"y" * 100_000)) is not None]
    assert pauses
    disk.wait(pauses[-1])
    assert incoming._waiting == 0
    disk.wait(incoming.commit(envelope(incoming.id, size=800_000)))
    assert disk.content(incoming.id) == b"y" * 800_000


def test_below_the_free_space_that_is_kept_nothing_is_taken(disk: Rig):
    disk.spool.minimum_free = 1 << 60
    with pytest.raises(SpoolError) as error:
        disk.spool.begin(0)
    assert (error.value.reply.code, error.value.reply.enhanced) == (452, "4.3.1")
    assert error.value.is_transient


def test_the_announced_size_counts(disk: Rig):
    with pytest.raises(SpoolError):
        disk.spool.begin(1 << 60)
    disk.spool.begin(1)


def test_the_free_space_is_looked_at_again(disk: Rig, monkeypatch: Any):
    disk.spool.minimum_free = 1000
    free = [0]
    monkeypatch.setattr(disk.spool, "_free_space", lambda: free[0])
    with pytest.raises(SpoolError):
        disk.spool.begin(0)
    free[0] = 1000
    disk.loop.advance(1)
    disk.spool.begin(0)
    with pytest.raises(SpoolError):
        disk.spool.begin(1)


def test_below_a_read_only_file_system_nothing_is_taken(disk: Rig, monkeypatch: Any):
    class State:
        f_files, f_favail, f_bavail, f_frsize, f_flag = 100, 100, 1 << 30, 4096, os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda path: State)
    with pytest.raises(SpoolError, match="read-only") as error:
        disk.spool.begin(0)
    assert str(error.value.reply).startswith("452 4.3.1")
    monkeypatch.setattr(State, "f_flag", 0)
    disk.spool.begin(0)


def test_without_inodes_nothing_is_taken(disk: Rig, monkeypatch: Any):
    class State:
        f_files, f_favail, f_bavail, f_frsize, f_flag = 100, 0, 1000, 4096, 0

    monkeypatch.setattr(os, "statvfs", lambda path: State)
    with pytest.raises(SpoolError):
        disk.spool.begin(0)

    def fail(path: Any) -> Any:
        raise OSError("gone")

    monkeypatch.setattr(os, "statvfs", fail)
    disk.loop.advance(1)
    with pytest.raises(SpoolError, match="gone"):
        disk.spool.begin(0)
