"""The kernel's word on its clock."""

import errno

import pytest

from multid.clock import kernel
from multid.clock.kernel import Discipline, KernelClock, adjtimex, measure_precision


def clock(*answers):
    """Return a kernel clock of these answers, and the list of moments at which it was asked."""
    now, asked, left = [0.0], [], list(answers)

    def read():
        asked.append(now[0])
        answer = left.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    return KernelClock(lambda: now[0], read), now, asked


@pytest.mark.parametrize(
    ("answer", "discipline"),
    [
        ((0, 0, 1500), Discipline(True, 0.0015)),
        ((1, 0x10, 1500), Discipline(True, 0.0015, leap=1)),
        ((2, 0x20, 1500), Discipline(True, 0.0015, leap=2)),
        ((3, 0x10, 1500), Discipline(True, 0.0015)),
        ((5, 0, 1500), Discipline(False, 0.0015)),
        ((0, 0x40, 1500), Discipline(False, 0.0015)),
        ((0, 0, 15_999_999), Discipline(True, 15.999999)),
        ((0, 0, 16_000_000), Discipline(False, 16.0)),
        (OSError(errno.EPERM, "no"), kernel.UNKNOWN),
    ],
)
def test_a_clock_is_synchronised_when_the_kernel_says_so_in_every_way(answer, discipline):
    assert clock(answer)[0].discipline() == discipline


def test_the_kernel_is_asked_once_a_second_at_most():
    known, now, asked = clock((0, 0, 1), (0, 0, 2), (0, 0, 3))
    for now[0] in (0, 0.5, 0.99, 1, 1.5, 2.0):
        known.discipline()
    assert asked == [0, 1, 2.0]


def test_this_kernel_answers():
    state, status, max_error = adjtimex()
    assert 0 <= state <= 5
    assert status >= 0
    assert max_error >= 0


def test_a_kernel_that_refuses_is_an_error_with_its_number(monkeypatch):
    class Refusing:
        @staticmethod
        def adjtimex(timex):
            kernel.ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(kernel, "_libc", Refusing)
    with pytest.raises(PermissionError):
        adjtimex()


@pytest.mark.parametrize(("step", "precision"), [(40, -24), (1000, -19), (1_000_000, -9), (10**9, 0), (1, -29)])
def test_precision_is_the_smallest_step_as_a_power_of_two(step, precision):
    readings = iter(range(0, step * 32, step))
    last = [0, 0]

    def read():
        last[1] += 1
        if last[1] % 2:
            last[0] = next(readings)
        return last[0]

    assert measure_precision(read) == precision


def test_a_clock_that_stands_has_a_precision_of_a_second():
    assert measure_precision(lambda: 7) == 0
