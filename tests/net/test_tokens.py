"""Token buckets and the table of them."""

from random import Random

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
