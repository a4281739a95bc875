"""Saying seldom what happens often."""

from multid.net.seldom import EVERY, Seldom


def test_the_first_is_told_at_once_and_the_rest_together_when_it_is_time() -> None:
    seldom = Seldom()
    assert seldom.note(5) == 1
    assert [seldom.note(5 + EVERY - 0.1) for _ in range(9)] == [0] * 9
    assert seldom.note(5 + EVERY) == 10
    assert seldom.note(5 + EVERY) == 0
