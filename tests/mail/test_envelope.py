"""Queue ids stand for numbers, grow with time, and are nothing else than they can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.envelope import QueueIds, queue_id, queue_number, received_at

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@given(st.integers(0, 2**60 - 1))
def test_a_number_comes_back_from_its_id(number: int) -> None:
    id_ = queue_id(number)
    assert len(id_) == 12
    assert set(id_) <= set(DIGITS)
    assert queue_number(id_) == number


@given(st.lists(st.integers(0, 2**60 - 1), min_size=2, max_size=2, unique=True))
def test_ids_sort_as_their_numbers(numbers: list[int]) -> None:
    low, high = sorted(numbers)
    assert queue_id(low) < queue_id(high)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0" * 11, "0" * 13, "0" * 24, "01J9T3QX7MAI", "O1J9T3QX7MAB", "01j9t3qx7mab", "\u0660" * 12, " " * 12],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="queue id"):
        queue_number(text)


def test_ids_tell_their_time_and_grow_also_when_the_clock_does_not() -> None:
    ids = QueueIds(clock=lambda: 1764038580.125)
    made = [ids() for _ in range(1000)]
    assert made == sorted(set(made))
    assert received_at(made[0]) == 1764038580.125
