"""The harness of the campaigns."""

import pytest

from tests.campaigns.campaign import Campaign, until


def test_a_seed_replays_what_is_drawn_by_lot() -> None:
    first, second = (Campaign(7, is_long=False) for _ in range(2))
    assert [first.random.random() for _ in range(9)] == [second.random.random() for _ in range(9)]


def test_the_length_chooses_the_number() -> None:
    assert Campaign(1, is_long=False).times(3, 200) == 3
    assert Campaign(1, is_long=True).times(3, 200) == 200


def test_the_report_holds_the_seed_and_the_ledger_in_its_order() -> None:
    campaign = Campaign(4711, is_long=True)
    campaign.ledger["mails acknowledged"] += 1234567
    campaign.ledger["mails lost"] = 0
    first, *rows = campaign.report().splitlines()
    assert first.startswith("long, seed 4711, ")
    assert [row.split(maxsplit=1) for row in rows] == [["1,234,567", "mails acknowledged"], ["0", "mails lost"]]


def test_waiting_in_vain_says_for_what() -> None:
    assert until(lambda: 5, "five") == 5
    with pytest.raises(AssertionError, match="in vain for godot"):
        until(lambda: None, "godot", within=0)
