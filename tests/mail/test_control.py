"""What an operator sees of the queue and does to it."""

from typing import Any

import pytest
from twisted.internet.defer import fail

from multid.mail.control import QueueControl
from multid.mail.interface import SpoolError
from multid.mail.queued import MailState
from multid.mail.reply import NO_ROOM
from tests.loop import Loop
from tests.mail.test_queue import BUSY, HOP, HOUR, NO, OK, ROUTE, Rig


class Operator:
    """Calls the verbs."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def do(self, verb: str, **arguments: Any) -> Any:
        control = QueueControl(self.rig.loop, self.rig.queue, lambda: self.rig.loop.now)
        result = self.rig.wait(getattr(control, verb)(arguments))
        self.rig.settle()
        return result

    def ids(self, **arguments: Any) -> list[str]:
        return [mail["id"] for mail in self.do("list", **arguments)["mails"]]


@pytest.fixture
def rig(loop: Loop) -> Rig:
    return Rig(loop)


@pytest.fixture
def operator(rig: Rig) -> Operator:
    rig.net.answer = BUSY
    rig.start()
    return Operator(rig)


def test_a_mail_is_listed_with_what_has_become_of_it(rig: Rig, operator: Operator):
    id_ = rig.put()
    (mail,) = operator.do("list")["mails"]
    assert (mail["id"], mail["state"], mail["sender"], mail["size"]) == (id_, "ready", "a@example.org", 14)
    (recipient,) = mail["recipients"]
    assert (recipient["address"], recipient["state"], recipient["attempts"]) == ("b@example.com", "open", 1)
    assert (recipient["reply"], recipient["remote"]) == ("450 4.2.1 Busy", "hop.test:25")
    assert recipient["due"] == rig.loop.now + 60


def test_a_list_comes_in_pages_and_by_what_fits(rig: Rig, operator: Operator):
    ids = [rig.put(f"{n}@x.test", sender=f"s{n}@x.test") for n in range(5)]
    page = operator.do("list", limit=2)
    assert ([mail["id"] for mail in page["mails"]], page["next"]) == (ids[:2], ids[1])
    assert operator.ids(after=ids[1], limit="3") == ids[2:]
    assert operator.do("list", after=ids[3])["next"] is None
    assert operator.ids(sender="s3@x.test") == [ids[3]]
    assert operator.ids(recipient="4@*", state="ready") == [ids[4]]
    assert operator.ids(ids=f"{ids[0]},{ids[2]}") == [ids[0], ids[2]]
    assert operator.ids(state="held") == []


def test_a_mail_is_shown_with_its_header_or_whole(rig: Rig, operator: Operator):
    id_ = rig.put(content=b"Subject: x\r\nX: \xff\r\n\r\nbody\r\n", peer="127.0.0.1:1")
    shown = operator.do("show", id=id_)
    assert (shown["text"], shown["peer"]) == ("Subject: x\r\nX: \\xff", "127.0.0.1:1")
    assert operator.do("show", id=id_, content="1")["text"].endswith("body\r\n")


@pytest.mark.parametrize("id_", ["", "nonsense", "0" * 12, "O" * 12])
def test_a_mail_that_is_not_there(operator: Operator, id_: str):
    with pytest.raises(LookupError):
        operator.do("show", id=id_)
    with pytest.raises(LookupError):
        operator.do("retry", ids=[id_])


@pytest.mark.parametrize("arguments", [{}, {"state": "nonsense"}, {"sender": "nonsense"}])
def test_what_makes_no_sense(operator: Operator, arguments: dict[str, Any]):
    with pytest.raises(ValueError, match=r"say all|nonsense"):
        operator.do("delete", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"ids": 5}, {"ids": {}, "all": 1}, {"all": "false"}, {"sender": 5}, {"recipient": ["a@b"]}, {"state": ["held"]}],
)
def test_what_is_of_the_wrong_type_names_no_mail(rig: Rig, operator: Operator, arguments: dict[str, Any]):
    rig.put()
    with pytest.raises(ValueError, match=r"is a (list of )?text|say all"):
        operator.do("delete", **arguments)
    assert len(operator.do("list")["mails"]) == 1


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_its_bounds(operator: Operator, limit: int):
    with pytest.raises(ValueError, match="1 to 1000"):
        operator.do("list", limit=limit)


def test_retry_does_not_wait_for_its_time(rig: Rig, operator: Operator):
    id_ = rig.put()
    rig.net.answer = OK
    assert operator.do("retry", ids=[id_]) == {"done": 1}
    assert rig.spool.mails == {}


def test_retry_probes_a_destination_that_is_down(rig: Rig, operator: Operator):
    rig.net.down[HOP] = BUSY
    id_ = rig.put()
    rig.pass_(HOUR)
    rig.net.down.clear()
    rig.net.answer = OK
    operator.do("retry", ids=[id_])
    assert rig.spool.mails == {}


def test_a_held_mail_is_not_tried_until_it_is_released(rig: Rig, operator: Operator):
    id_ = rig.put()
    assert operator.do("hold", ids=[id_]) == {"done": 1}
    assert operator.do("hold", ids=[id_]) == {"done": 0}
    assert operator.do("retry", all=True) == {"done": 0}
    rig.pass_(HOUR)
    assert len(rig.net.tries) == 1
    assert rig.mail(id_).state is MailState.HELD
    rig.net.answer = OK
    assert operator.do("release", sender="a@example.org") == {"done": 1}
    assert rig.spool.mails == {}


def test_a_mail_held_while_it_waits_for_its_lane_stays_held(rig: Rig, operator: Operator):
    rig.net.down[HOP] = BUSY
    id_ = rig.put()
    operator.do("hold", ids=[id_])
    rig.net.down.clear()
    rig.pass_(HOUR)
    assert rig.mail(id_).state is MailState.HELD
    assert rig.net.tries == []


def test_a_mail_held_while_it_is_being_sent_and_then_delivered_is_gone(rig: Rig, operator: Operator):
    rig.net.answer = OK
    rig.hold()
    id_ = rig.put()
    operator.do("hold", ids=[id_])
    rig.release()
    assert rig.spool.mails == {}
    assert rig.queue.states() == {"ready": 0, "active": 0}


def test_a_mail_held_while_it_is_being_sent_stays_held_though_a_failure_is_noted(rig: Rig, operator: Operator):
    rig.net.answer = {0: NO, 1: BUSY}
    rig.hold()
    id_ = rig.put("b@example.com", "c@example.com", sender="")
    operator.do("hold", ids=[id_])
    rig.release()
    assert (rig.mail(id_).state, rig.mail(id_).note) == (MailState.HELD, "there is nobody to tell that it failed")


def test_a_mail_held_while_it_is_being_sent_is_not_tried_again(rig: Rig, operator: Operator):
    rig.hold()
    id_ = rig.put()
    assert operator.do("list")["mails"][0]["state"] == "active"
    operator.do("hold", ids=[id_])
    rig.release()
    rig.pass_(HOUR)
    assert rig.mail(id_).state is MailState.HELD
    assert len(rig.net.tries) == 1


def test_a_deleted_mail_is_gone_and_nobody_is_told(rig: Rig, operator: Operator):
    ids = [rig.put() for _ in range(3)]
    assert operator.do("delete", ids=ids[:1]) == {"done": 1}
    assert operator.do("delete", all=True) == {"done": 2}
    rig.pass_(2 * HOUR)
    assert (len(rig.net.tries), rig.spool.mails) == (3, {})


def test_a_mail_deleted_while_it_is_being_sent_causes_no_report(rig: Rig, operator: Operator):
    rig.net.answer = NO
    rig.hold()
    id_ = rig.put()
    operator.do("delete", ids=[id_])
    rig.release()
    rig.pass_(HOUR)
    assert rig.spool.mails == {}


def test_a_dead_mail_that_is_released_is_tried_again(rig: Rig, operator: Operator):
    rig.net.answer = NO
    rig.put()
    (dead,) = rig.spool.mails
    rig.net.answer = OK
    assert operator.do("release", state="dead") == {"done": 1}
    assert rig.net.tries[-1] == (dead, ["a@example.org"])
    assert rig.spool.mails == {}


def test_captured_mail_that_is_released_is_sent(rig: Rig):
    rig.start(mode="capture")
    id_ = rig.put()
    rig.queue.retune(rig.make().settings)
    Operator(rig).do("release", ids=[id_])
    assert rig.spool.mails == {}


def test_more_mails_than_a_page_are_changed(rig: Rig, operator: Operator, monkeypatch):
    monkeypatch.setattr("multid.mail.control.PAGE", 3)
    for _ in range(8):
        rig.put()
    assert operator.do("hold", all=True) == {"done": 8}


def test_states_and_the_oldest_are_known(rig: Rig, operator: Operator):
    assert rig.queue.oldest() is None
    first = rig.put()
    rig.put()
    operator.do("hold", ids=[first])
    assert rig.queue.states() == {"ready": 1, "active": 0, "held": 1}
    assert rig.queue.oldest() is not None
    details = rig.queue.details()
    assert (details["mode"], details["notes"]) == ("relay", [])
    assert details["routes"][0]["route"] == ROUTE.name


def test_what_needs_somebody_is_noted(rig: Rig, operator: Operator):
    rig.net.down[HOP] = BUSY
    rig.put()
    assert rig.queue.details()["notes"] == ["route main is down: 450 4.2.1 Busy"]
    rig.queue.retune(rig.make(routes=(), mode="hold").settings)
    assert rig.queue.details()["notes"] == ["mode hold: nothing is sent"]
    rig.queue.retune(rig.make(routes=()).settings)
    rig.settle()
    assert rig.queue.details()["notes"] == ["1 mail has a recipient without a route"]


@pytest.mark.parametrize("verb", ["hold", "delete"])
def test_what_cannot_be_written_is_not_done(rig: Rig, operator: Operator, verb: str):
    """A mail that waits is still tried, and one that is held stays held."""
    held, waiting = rig.put(), rig.put("c@example.com")
    operator.do("hold", ids=[held])
    write = rig.spool.update
    rig.spool.update = lambda update: fail(SpoolError("full", NO_ROOM))  # type: ignore[method-assign]
    with pytest.raises(SpoolError):
        operator.do(verb, all=True)
    rig.spool.update = write  # type: ignore[method-assign]
    rig.pass_(10)
    assert rig.queue.states() == {"ready": 1, "active": 0, "held": 1}
    rig.net.answer = OK
    rig.pass_(120)
    assert list(rig.spool.mails) == [held]
    assert waiting in {id_ for id_, _ in rig.net.tries[2:]}
