"""What the kernel knows of its clock: whether something disciplines it, how far off it may be, a leap second to come.

`adjtimex(2)` reads, never sets, here. Whoever disciplines the clock (chronyd, ntpd, timesyncd) leaves its word with the
kernel, so no other program need be asked. A kernel that cannot be asked is one whose clock cannot be vouched for.
"""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

TIME_INS, TIME_DEL, TIME_ERROR = 1, 2, 5
STA_UNSYNC = 0x40
LARGEST_ERROR = 16.0
"""Seconds; RFC 5905 calls a clock that may be further off unsynchronised (MAXDISP)."""

_CACHED = 1.0


@dataclass(frozen=True)
class Discipline:
    """Whether the clock is disciplined, the seconds it is off at most, and a leap second: 1 to insert, 2 to delete."""

    synchronised: bool
    max_error: float
    leap: int = 0


UNKNOWN = Discipline(synchronised=False, max_error=LARGEST_ERROR)


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    ]


def adjtimex() -> tuple[int, int, int]:
    """Return the kernel's clock state, status bits and maximum error in microseconds; OSError if it will not say."""
    timex = _Timex()
    state = _libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return state, timex.status, timex.maxerror


_libc = ctypes.CDLL(None, use_errno=True)


class KernelClock:
    """Asks the kernel, at most once a second of the monotonic clock given."""

    def __init__(self, seconds: Callable[[], float], read: Callable[[], tuple[int, int, int]] = adjtimex) -> None:
        self._seconds = seconds
        self._read = read
        self._known = UNKNOWN
        self._asked: float | None = None

    def discipline(self) -> Discipline:
        """Return what the kernel said within the last second."""
        now = self._seconds()
        if self._asked is None or now - self._asked >= _CACHED:
            self._asked = now
            self._known = self._ask()
        return self._known

    def _ask(self) -> Discipline:
        try:
            state, status, max_error = self._read()
        except OSError:
            return UNKNOWN
        error = max_error / 1e6
        synchronised = state != TIME_ERROR and not status & STA_UNSYNC and error < LARGEST_ERROR
        return Discipline(synchronised, error, state if state in {TIME_INS, TIME_DEL} else 0)


def measure_precision(clock: Callable[[], int] = time.time_ns) -> int:
    """Return the clock's precision: log2 of the smallest step, in seconds, that it is seen to take, rounded up."""
    readings = [clock() for _ in range(64)]
    step = min((later - earlier for earlier, later in pairwise(readings) if later > earlier), default=10**9)
    return 1 - (10**9 // step).bit_length()
