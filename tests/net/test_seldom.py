"""Saying seldom what happens often."""

from multid.net.seldom import CAUSES, EVERY, OTHERS, Seldom, SeldomEach


def test_the_first_is_told_at_once_and_the_rest_together_when_it_is_time() -> None:
    seldom = Seldom()
    assert seldom.note(5) == 1
    assert [seldom.note(5 + EVERY - 0.1) for _ in range(9)] == [0] * 9
    assert seldom.note(5 + EVERY) == 10
    assert seldom.note(5 + EVERY) == 0


def test_each_cause_is_told_at_once_and_then_with_its_count_and_its_latest() -> None:
    seldom = SeldomEach()
    for number in range(3):
        seldom.note("full", f"peer {number}", 5)
        assert seldom.due(5) == ([("full", "peer 0", 1)] if number == 0 else [])
    seldom.note("gone", "peer 3", 6)
    assert seldom.due(6) == [("gone", "peer 3", 1)]
    assert seldom.due(5 + EVERY) == [("full", "peer 2", 2)]
    assert seldom.due(1000) == []
    seldom.note("gone", "peer 4", 1000)
    assert seldom.due(1000) == [("gone", "peer 4", 1)]


def test_causes_without_end_are_told_as_one_and_do_not_stay() -> None:
    seldom = SeldomEach()
    for number in range(CAUSES + 9):
        seldom.note(str(number), "", 0)
    told = seldom.due(0)
    assert (len(told), told[-1]) == (CAUSES + 1, (OTHERS, "", 9))
    assert seldom.due(EVERY) == []
    seldom.note("new", "", EVERY)
    assert seldom.due(EVERY) == [("new", "", 1)]
