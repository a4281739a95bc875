"""Mails of the drop directory on their way into the spool, when that does not go well."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, succeed

from multid.mail.drop import Dropped, leave
from multid.mail.pickup import Pickup
from multid.mail.reply import Reply
from multid.mail.settings import InboundSettings

TAKEN, LATER, NEVER = Reply(250, "2.0.0", "taken"), Reply(451, "4.3.0", "later"), Reply(550, "5.1.1", "never")


class Scripted(Pickup):
    """Gets one of `replies` for each session, and does at once what else a thread does."""

    def __init__(self, directory: Path, replies: list[Reply]) -> None:
        settings = InboundSettings("relay.test", "relay.test", "postmaster@relay.test", max_recipients=2)
        super().__init__(None, directory, lambda: SimpleNamespace(settings=settings))  # type: ignore[arg-type, return-value]
        self.replies = replies
        self.sent: list[tuple[str, ...]] = []
        self._is_running = True

    def look(self) -> None:
        failures: list[object] = []
        Deferred.fromCoroutine(self._take_all()).addErrback(failures.append)
        assert not failures

    async def _submit(self, dropped: Dropped) -> Reply:
        self.sent.append(dropped.recipients)
        return self.replies.pop(0)

    def _in_thread(self, work, *arguments):
        return succeed(work(*arguments))


FIVE = ["1@x", "2@x", "3@x", "4@x", "5@x"]


def test_recipients_that_were_taken_are_not_handed_over_again(tmp_path: Path):
    leave(tmp_path, "me@x", FIVE, b"A: b\r\n\r\n")
    pickup = Scripted(tmp_path, [TAKEN, LATER, LATER, TAKEN, TAKEN])
    for left in (1, 1, 0):
        pickup.look()
        assert len(list(tmp_path.iterdir())) == left
    assert pickup.sent == [("1@x", "2@x"), ("3@x", "4@x"), ("3@x", "4@x"), ("3@x", "4@x"), ("5@x",)]


def test_a_report_is_about_those_who_were_not_taken(tmp_path: Path):
    leave(tmp_path, "me@x", FIVE, b"Subject: mine\r\n\r\nbody\r\n")
    Scripted(tmp_path, [TAKEN, NEVER]).look()
    (report,) = (path for path in tmp_path.iterdir() if path.suffix != ".refused")
    text = report.read_text()
    assert text.startswith('{"sender": "", "recipients": ["me@x"]}\n')
    assert ["Final-Recipient: rfc822; " + one in text for one in FIVE] == [False, False, True, True, True]


@pytest.mark.parametrize("reply", [NEVER, LATER])
def test_nobody_is_told_of_a_report(tmp_path: Path, reply: Reply):
    leave(tmp_path, "", ["me@x"], b"A: b\r\n\r\n")
    Scripted(tmp_path, [reply]).look()
    assert [path.suffix == ".refused" for path in tmp_path.iterdir()] == [reply is NEVER]


def test_a_refused_mail_whose_sender_cannot_be_told_yet_is_looked_at_again(tmp_path: Path, monkeypatch):
    leave(tmp_path, "me@x", ["1@x"], b"A: b\r\n\r\n")
    (mail,) = tmp_path.iterdir()
    pickup = Scripted(tmp_path, [NEVER, NEVER])
    with monkeypatch.context() as full:
        full.setattr(
            "multid.mail.pickup.leave", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        pickup.look()
    assert list(tmp_path.iterdir()) == [mail]
    pickup.look()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".refused"]
