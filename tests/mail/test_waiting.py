"""The mails that wait, and for what."""

from multid.mail.envelope import Envelope, Recipient
from multid.mail.queued import Content, MailState, QueuedMail, new_mail
from multid.mail.waiting import FRESH, Waiting


def mail(id_: str, size: int = 10) -> QueuedMail:
    return new_mail(Envelope(id_, "a@example.org", (Recipient("b@example.com"),), size, 0.0), Content(size, b""))


def test_new_mails_come_in_their_order():
    waiting = Waiting()
    first, second = mail("A"), mail("B")
    assert waiting.put_fresh(first)
    assert waiting.put_fresh(second)
    assert [waiting.pop_fresh(), waiting.pop_fresh(), waiting.pop_fresh()] == [first, second, None]


def test_new_mails_are_kept_up_to_so_many_octets():
    waiting = Waiting()
    assert waiting.put_fresh(mail("A", FRESH - 1))
    assert not waiting.put_fresh(mail("B", 2))
    assert waiting.put_fresh(mail("C", 1))
    waiting.pop_fresh()
    assert waiting.put_fresh(mail("B", 2))


def test_what_is_dropped_is_not_tried_whatever_it_waited_for():
    waiting = Waiting()
    assert waiting.put_fresh(mail("A", FRESH))
    waiting.agenda.put("B", 0.0)
    waiting.unrouted["C"] = None
    for id_ in "ABC":
        waiting.drop(id_)
    assert waiting.pop_fresh() is None
    assert waiting.agenda.pop(1.0) is None
    assert not waiting.unrouted
    assert waiting.put_fresh(mail("A", FRESH))


def test_a_mail_that_waits_for_two_things_is_one():
    waiting = Waiting()
    waiting.put_fresh(mail("C"))
    waiting.agenda.put("B", 0.0)
    waiting.unrouted |= {"A": None, "B": None}
    waiting.aside["D"] = MailState.HELD
    assert waiting.counts() == {"ready": 3, "held": 1}
    assert waiting.oldest() == "A"
    assert Waiting().oldest() is None
