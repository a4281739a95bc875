"""Mails that wait for two things at once: whatever comes first, and at whatever moment, is not missed."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from multid.mail.control import QueueControl
from multid.mail.envelope import Envelope
from multid.mail.outbound import HopError
from multid.mail.queued import Content, MailState, new_mail
from multid.mail.reply import Reply
from multid.mail.route import Hop, Pattern, Route
from tests.loop import Loop
from tests.mail.test_queue import BUSY, DOWN_HOP, HOP, OK, PATIENT, ROUTE, Rig, envelope, settings

COM = replace(ROUTE, recipient=Pattern("*@example.com"))
NET = Route("net", (DOWN_HOP,), recipient=Pattern("*@example.net"))
BOTH = ("b@example.com", "c@example.net")


@pytest.fixture
def rig(loop: Loop):
    return Rig(loop)


def recipients(rig: Rig) -> list[str]:
    return [address for _, addresses in rig.net.tries for address in addresses]


def go_on(rig: Rig) -> None:
    """Let the next hops answer, from now on at once."""
    held, rig.net.held = rig.net.held or [], None
    for gate in held:
        gate.callback(None)
    rig.settle()


def test_a_destination_that_is_back_while_the_other_is_sent_to(rig: Rig):
    """The recipient that was parked is tried once the mail's other delivery has ended."""
    rig.net.down[DOWN_HOP] = BUSY
    rig.hold()
    rig.start(routes=(COM, NET), retry=PATIENT)
    rig.put(*BOTH)
    rig.net.down.clear()
    rig.pass_(10)
    assert recipients(rig) == ["b@example.com"]
    go_on(rig)
    assert recipients(rig) == [*BOTH]
    assert not rig.spool.mails


def test_a_mail_that_is_parked_at_two_destinations_follows_either(rig: Rig):
    """That both look again at once costs neither its place."""
    rig.net.down = {HOP: BUSY, DOWN_HOP: BUSY}
    rig.start(routes=(COM, NET), retry=PATIENT)
    rig.put(*BOTH)
    rig.pass_(1)
    rig.wait(QueueControl(rig.loop, rig.queue, wall=lambda: rig.loop.now).retry({"all": True}))
    rig.settle()
    rig.net.down.clear()
    rig.pass_(20)
    assert not rig.spool.mails


@pytest.mark.parametrize("command", ["delete", "hold"])
def test_a_mail_that_was_to_probe_and_will_not_lets_another(rig: Rig, command: str):
    rig.net.down[HOP] = BUSY
    rig.start(retry=PATIENT)
    first, second = rig.put(), rig.put()
    rig.net.down.clear()
    rig.queue.probe()
    rig.queue.forget(first) if command == "delete" else rig.queue.set_aside(first, MailState.HELD)
    rig.settle()
    assert [id_ for id_, _ in rig.net.tries] == [second]


def test_a_mail_that_was_to_probe_and_is_gone_lets_another(rig: Rig):
    rig.net.down[HOP] = BUSY
    rig.start(retry=PATIENT)
    first, second = rig.put(), rig.put()
    rig.net.down.clear()
    del rig.spool.mails[first]
    rig.pass_(6)
    assert [id_ for id_, _ in rig.net.tries] == [second]


def test_a_destination_that_will_never_take_mail_keeps_none_of_many(rig: Rig):
    rig.net.down[HOP] = Reply(556, "5.1.10", "Null MX")
    rig.start(routes=(COM,), retry=PATIENT, mode="hold")
    for _ in range(20):
        rig.put()
    rig.queue.retune(settings(routes=(COM,), retry=PATIENT))
    rig.settle()
    assert rig.queue.results.counters["failed"] == 20


def test_a_mail_that_raises_for_one_destination_is_not_tried_while_another_is_sent_to(rig: Rig):
    rig.net.answer = lambda envelope, places: ZeroDivisionError("x") if places == [0] else OK
    rig.hold()
    rig.start(routes=(COM, NET), retry=PATIENT)
    rig.put(*BOTH)
    rig.release()
    rig.pass_(100)
    assert recipients(rig) == [*BOTH]
    go_on(rig)
    rig.net.answer = OK
    rig.pass_(100)
    assert recipients(rig) == [*BOTH, "b@example.com"]
    assert not rig.spool.mails


def test_a_hop_that_wants_a_login_is_not_asked_all_the_time(rig: Rig):
    rig.net.answer = HopError(BUSY)
    rig.start(retry=PATIENT)
    id_ = rig.put()
    rig.pass_(100)
    assert 10 <= len(rig.net.tries) <= 21
    assert rig.mail(id_).deliveries[0].attempts == 0
    assert rig.queue.details()["routes"][0]["state"] == "down"
    rig.net.answer = OK
    rig.pass_(6)
    assert not rig.spool.mails


def test_a_route_that_comes_while_another_recipient_is_sent_to(rig: Rig):
    rig.hold()
    rig.start(routes=(COM,), retry=PATIENT)
    rig.put(*BOTH)
    rig.queue.retune(settings(routes=(COM, NET), retry=PATIENT))
    go_on(rig)
    assert recipients(rig) == [*BOTH]
    assert not rig.spool.mails


def test_a_route_that_goes_while_another_recipient_is_sent_to(rig: Rig):
    """What is parked at a destination that is no more is taken along."""
    rig.net.down[DOWN_HOP] = BUSY
    rig.hold()
    rig.start(routes=(COM, NET), retry=PATIENT)
    rig.put(*BOTH)
    elsewhere = Route("else", (Hop("else.test", 25, "none"),), recipient=Pattern("*@example.net"))
    rig.queue.retune(settings(routes=(COM, elsewhere), retry=PATIENT))
    go_on(rig)
    assert recipients(rig) == [*BOTH]
    assert not rig.spool.mails


def test_stop_gives_back_a_mail_whose_connection_turns_out_to_have_died(rig: Rig):
    rig.start(retry=PATIENT)
    rig.put()
    rig.hold()
    rig.net.answer = HopError(BUSY)
    id_ = rig.put()
    stopped = Deferred.fromCoroutine(rig.queue.stop())
    rig.release()
    rig.wait(stopped)
    assert rig.mail(id_).deliveries[0].attempts == 0


@pytest.mark.parametrize(("command", "tries"), [("retry", 1), ("delete", 0), ("hold", 0)])
def test_what_is_said_of_a_mail_before_its_first_try(rig: Rig, command: str, tries: int):
    rig.start(retry=PATIENT)
    mail = new_mail(envelope("D222MYBXE3AB", now=rig.loop.now, size=2), Content(2, b"x\n"))
    rig.spool.mails[mail.envelope.id] = mail
    rig.spool.stored(mail)
    control = QueueControl(rig.loop, rig.queue, wall=lambda: rig.loop.now)
    Deferred.fromCoroutine(getattr(control, command)({"ids": [mail.envelope.id]}))
    rig.settle()
    assert len(rig.net.tries) == tries
    assert bool(rig.spool.mails) == (command == "hold")


@pytest.mark.parametrize("is_usable", [True, False])
def test_no_more_mails_than_connections_are_between_their_answer_and_the_spool(rig: Rig, *, is_usable: bool):
    """Whether the connection goes on or another takes its place, it waits for the last result."""
    rig.start(routes=(replace(COM, connections=1),), retry=PATIENT)
    answered: list[str] = []

    def answer(envelope: Envelope, places: list[int]) -> Reply:
        answered.append(envelope.id)
        for connection in rig.net.open:
            connection.is_usable = is_usable
        return OK

    rig.net.answer = answer
    write, written = rig.spool.update, Deferred[None]()
    rig.spool.update = lambda update: written.addCallback(lambda _: write(update))  # type: ignore[method-assign]
    first, second = rig.put(), rig.put()
    assert answered == [first]
    rig.spool.update = write  # type: ignore[method-assign]
    written.callback(None)
    rig.settle()
    assert answered == [first, second]
    assert not rig.spool.mails
