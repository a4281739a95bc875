"""What HTTP over TCP may take of the time."""

import time

import pytest
from twisted.internet.task import Clock

from multid.admin.share import BURST, SHARE, Share


def work(seconds: float) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_who_asks_now_and_then_never_waits(clock) -> None:
    share = Share(clock)
    for _ in range(100):
        assert share.turn().called
        with share.spending():
            work(0.001)
        clock.advance(1)


def test_who_asks_without_a_pause_waits_for_the_share_and_is_answered_in_turn(clock) -> None:
    share = Share(clock)
    with share.spending():
        work(BURST + 0.02)
    turns = [share.turn() for _ in range(3)]
    clock.advance(0.019 / SHARE)
    assert [turn.called for turn in turns] == [False, False, False]
    turns[0].addCallback(lambda _: work(0.01))
    clock.pump([0.01 / SHARE] * 2)
    assert turns[0].called
    clock.pump([0.005 / SHARE] * 40)
    assert [turn.called for turn in turns] == [True, True, True]
    assert share.turn().called


def test_what_an_answer_costs_is_made_good_before_the_next(clock) -> None:
    share = Share(clock)
    with share.spending():
        work(BURST)
    first, second = share.turn(), share.turn()
    first.addCallback(lambda _: work(0.02))
    clock.advance(0.001 / SHARE)
    while not first.called:
        clock.advance(0.001 / SHARE)
    clock.advance(0.015 / SHARE)
    assert not second.called
    clock.advance(0.5)
    assert second.called


def test_what_is_within_another_is_counted_once(clock) -> None:
    share = Share(clock)
    with share.spending(), share.spending():
        work(BURST * 0.7)
    assert share.turn().called


def test_who_asks_again_while_being_answered_comes_last(clock) -> None:
    share = Share(clock)
    with share.spending():
        work(BURST + 0.001)
    order: list[str] = []
    share.turn().addCallback(lambda _: share.turn().addCallback(lambda _: order.append("again")) and None)
    share.turn().addCallback(lambda _: order.append("other"))
    clock.pump([0.1] * 20)
    assert order == ["other", "again"]
