"""The retry schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.retry import RetryPolicy

POLICY = RetryPolicy(schedule=(60.0, 120.0, 3600.0), jitter=0.2, warn=100.0, expire=1000.0)


@pytest.mark.parametrize(("attempts", "base"), [(0, 60), (1, 60), (2, 120), (3, 3600), (4, 3600), (999, 3600)])
def test_the_schedule_is_followed_and_its_last_step_repeats(attempts: int, base: float):
    assert POLICY.delay(attempts, lambda: 0.5) == base


@given(attempts=st.integers(0, 1000), random=st.floats(0, 1))
def test_jitter_stays_within_its_part(attempts: int, random: float):
    base = POLICY.delay(attempts, lambda: 0.5)
    assert base * 0.8 - 1e-6 <= POLICY.delay(attempts, lambda: random) <= base * 1.2 + 1e-6


def test_jitter_reaches_both_ends():
    assert POLICY.delay(1, lambda: 0.0) == pytest.approx(48)
    assert POLICY.delay(1, lambda: 1.0) == pytest.approx(72)


@pytest.mark.parametrize(("age", "late", "expired"), [(99.9, False, False), (100, True, False), (1000, True, True)])
def test_warning_and_expiry_begin_at_their_age(age: float, late: bool, expired: bool):
    assert POLICY.is_late(age) is late
    assert POLICY.is_expired(age) is expired


def test_without_warn_nobody_is_warned():
    assert not RetryPolicy(warn=None).is_late(1e9)


def test_a_wait_ends_when_it_is_due_and_never_takes_longer_than_a_delay_can():
    policy = RetryPolicy(schedule=(60.0, 100.0), jitter=0.5)
    assert policy.wait(1000.0, 990.0) == 10.0
    assert policy.wait(1000.0, 1001.0) == 0.0
    assert policy.wait(1150.0, 1000.0) == 150.0
    assert policy.wait(1151.0, 1000.0) == 150.0
