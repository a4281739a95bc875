"""Units of the file: durations, sizes and rates, to and from text. Pure.

A duration is seconds (`250ms 30s 5m 1h 4d`, at most 36500 days), a size is octets (`512B 64KiB 25MiB 1GiB`, powers of
1024 only, at most 2^60), a rate is events a second (`20/s 60/min 20/h`, at most 10^9). The bounds are beyond all use,
and keep what is computed from them within what clocks, files and floats can hold.
"""

import re

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_RATES = {"s": 1.0, "min": 60.0, "h": 3600.0}
_LONGEST, _LARGEST, _FASTEST = 36500 * 86400.0, 1 << 60, 1e9

DURATION_PATTERN = r"^[0-9]{1,20}(\.[0-9]{1,20})?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]{1,20}(B|KiB|MiB|GiB|TiB)?$"
RATE_PATTERN = r"^[0-9]{1,20}(\.[0-9]{1,20})?/(s|min|h)$"


def parse_duration(text: str) -> float:
    """Seconds in a text such as `5m`; ValueError says what a duration looks like."""
    match = re.fullmatch(DURATION_PATTERN[1:-1], text)
    if not match:
        raise ValueError(f"a duration is a number and a unit, such as 250ms, 30s, 5m, 1h or 4d, not {text!r}")
    seconds = float(text.removesuffix(match[2])) * _DURATIONS[match[2]]
    if seconds > _LONGEST:
        raise ValueError(f"a duration is at most 36500d, not {text!r}")
    return seconds


def parse_size(text: str) -> int:
    """Octets in a text such as `64KiB`; ValueError says what a size looks like."""
    match = re.fullmatch(SIZE_PATTERN[1:-1], text)
    if not match:
        raise ValueError(f"a size is a whole number and a unit, such as 512B, 64KiB, 25MiB or 1GiB, not {text!r}")
    unit = match[1] or ""
    octets = int(text.removesuffix(unit)) * _SIZES[unit or "B"]
    if octets > _LARGEST:
        raise ValueError(f"a size is at most {format_size(_LARGEST)}, not {text!r}")
    return octets


def parse_rate(text: str) -> float:
    """Events a second in a text such as `60/min`; ValueError says what a rate looks like."""
    match = re.fullmatch(RATE_PATTERN[1:-1], text)
    if not match:
        raise ValueError(f"a rate is a number by s, min or h, such as 20/s or 60/min, not {text!r}")
    rate = float(text.partition("/")[0]) / _RATES[match[2]]
    if rate > _FASTEST:
        raise ValueError(f"a rate is at most 1000000000/s, not {text!r}")
    return rate


def format_duration(seconds: float) -> str:
    """Return the text of a duration with its largest whole unit: `5m`, `90s`, `250ms`."""
    milliseconds = round(seconds * 1000, 6)
    for unit in ("d", "h", "m", "s"):
        if milliseconds % (_DURATIONS[unit] * 1000) == 0 and (milliseconds or unit == "s"):
            return f"{milliseconds / (_DURATIONS[unit] * 1000):.0f}{unit}"
    return f"{_decimal(milliseconds)}ms"


def format_size(octets: int) -> str:
    """Return the text of a size with its largest whole unit: `64KiB`, `1000B`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if octets and octets % _SIZES[unit] == 0:
            return f"{octets // _SIZES[unit]}{unit}"
    return f"{octets}B"


def format_rate(per_second: float) -> str:
    """Return the text of a rate by the shortest time that sees one event or more: `20/s`, `30/min`."""
    for unit, seconds in _RATES.items():
        if per_second * seconds >= 1 or not per_second:
            return f"{_decimal(per_second * seconds)}/{unit}"
    return f"{_decimal(per_second * 3600)}/h"


def _decimal(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")
