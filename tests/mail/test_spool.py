"""What every spool promises, asked of each; and what only the one on disk can show."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from multid.mail.envelope import Envelope, Recipient
from multid.mail.interface import Spool
from multid.mail.queued import Delivery, MailState, Query, QueuedMail, Update
from multid.mail.spool import MemorySpool
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
