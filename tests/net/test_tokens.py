"""Token buckets and the table of them."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.net.tokens import BucketTable, TokenBucket


def test_a_bucket_gives_its_burst_at_once_and_then_no_more():
    bucket = TokenBucket(rate=2, burst=3, now=100)
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


def test_a_bucket_gains_its_rate_and_never_more_than_its_burst():
    bucket = TokenBucket(rate=2, burst=3, now=0)
    for _ in range(3):
        bucket.take(0)
    assert not bucket.take(0.49)
    assert bucket.take(0.5)
    assert [bucket.take(1000) for _ in range(4)] == [True, True, True, False]


def test_a_bucket_says_how_long_to_wait():
    bucket = TokenBucket(rate=4, burst=2, now=0)
    assert bucket.wait(0, 2) == 0
    assert bucket.take(0, 2)
    assert bucket.wait(0) == 0.25
    assert bucket.wait(0.125) == 0.125
    assert not bucket.is_full(0.49)
    assert bucket.is_full(0.5)


def test_keys_of_a_table_do_not_share_their_tokens():
    table = BucketTable(rate=1, burst=1)
    assert table.take("a", 0)
    assert not table.take("a", 0)
    assert table.take("b", 0)


def test_a_full_table_lets_go_of_a_bucket_that_is_as_good_as_new():
    table = BucketTable(rate=1, burst=2, limit=2)
    table.take("spent", 0)
    table.take("spent", 0)
    table.take("idle", 0)
    table.take("new", 1.5)
    assert len(table) == 2
    assert not [table.bucket("spent", 1.5).take(1.5) for _ in range(2)][1]


def test_a_full_table_of_spent_buckets_lets_go_of_the_oldest():
    table = BucketTable(rate=1, burst=1, limit=100)
    for number in range(1000):
        table.take(str(number), 0)
    assert len(table) == 100
    assert not table.take("999", 0)
    assert table.take("0", 0)


def test_one_beyond_its_rate_gets_through_by_the_chance_of_the_leak():
    table = BucketTable(rate=1, burst=1, leak=0.25, random=Random(1).random)
    table.take("victim", 0)
    assert 200 < sum(table.take("victim", 0) for _ in range(1000)) < 300


rates = st.floats(0.01, 1000)
bursts = st.floats(1, 1000)
gaps = st.floats(0, 100)
amounts = st.floats(0.1, 20)


@given(rates, bursts, st.lists(st.tuples(gaps, amounts), max_size=60))
def test_no_stretch_of_time_gives_more_than_a_burst_and_its_rate(rate, burst, takes):
    bucket, now, taken = TokenBucket(rate, burst, 0), 0.0, []
    for gap, amount in takes:
        now += gap
        if bucket.take(now, amount):
            taken.append((now, amount))
    for first, (start, _) in enumerate(taken):
        total = 0.0
        for end, amount in taken[first:]:
            total += amount
            assert total <= (burst + (end - start) * rate) * (1 + 1e-9)


@given(rates, bursts, st.lists(gaps, max_size=60))
def test_who_keeps_to_the_rate_is_never_refused(rate, burst, pauses):
    bucket, now = TokenBucket(rate, burst, 0), 0.0
    for pause in pauses:
        assert bucket.take(now)
        now += pause + (1 + 1e-9) / rate


@given(rates, bursts, st.lists(st.tuples(gaps, amounts), min_size=1, max_size=60))
def test_what_was_spent_is_made_good_after_the_time_that_was_told_and_not_before(rate, burst, spends):
    bucket, now, balance = TokenBucket(rate, burst, 0), 0.0, burst
    for gap, amount in spends:
        now += gap
        balance = min(balance + gap * rate, burst) - amount
        assert bucket.spend(now, amount) == pytest.approx(max(0, -balance) / rate, abs=1e-6)
        assert bucket.wait(now) == pytest.approx(max(0, 1 - balance) / rate, abs=1e-6)


@given(rates, bursts, st.lists(st.tuples(gaps, st.sampled_from("abc")), max_size=60))
def test_each_key_of_a_table_fares_as_if_it_were_alone(rate, burst, takes):
    table, now = BucketTable(rate, burst), 0.0
    alone: dict[str, TokenBucket] = {}
    for gap, key in takes:
        now += gap
        bucket = alone.setdefault(key, TokenBucket(rate, burst, now))
        assert table.take(key, now) == bucket.take(now)


@given(st.integers(1, 12), st.lists(st.tuples(gaps, st.integers(0, 30)), max_size=80))
def test_a_table_is_never_larger_than_its_limit_and_forgets_nobody_it_need_not(limit, takes):
    table, now = BucketTable(1, 2, limit=limit), 0.0
    for gap, key in takes:
        now += gap
        is_new, size = str(key) not in table._buckets, len(table)
        table.take(str(key), now)
        assert len(table) == min(size + is_new, limit)
        assert str(key) in table._buckets
