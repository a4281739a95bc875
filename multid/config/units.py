"""Units of the file: durations, sizes and rates, to and from text. Pure.

A duration is seconds (`30s 5m 1h 4d`, also `250ms`), a size is octets (`64KiB 25MiB 1GiB`, powers of 1024 only),
a rate is events a second (`20/s`, `60/min`, `20/h`).
"""

import re

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_RATES = {"s": 1.0, "min": 60.0, "h": 3600.0}

DURATION_PATTERN = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^\d+(B|KiB|MiB|GiB|TiB)?$"
RATE_PATTERN = r"^\d+(\.\d+)?/(s|min|h)$"


def parse_duration(text: str) -> float:
    """Seconds in a text such as `5m`; ValueError says what a duration looks like."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not match:
        raise ValueError(f"a duration is a number and a unit, such as 250ms, 30s, 5m, 1h or 4d, not {text!r}")
    return float(match[1]) * _DURATIONS[match[2]]


def parse_size(text: str) -> int:
    """Octets in a text such as `64KiB`; ValueError says what a size looks like."""
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB|TiB)?", text)
    if not match:
        raise ValueError(f"a size is a whole number and a unit, such as 512B, 64KiB, 25MiB or 1GiB, not {text!r}")
    return int(match[1]) * _SIZES[match[2] or "B"]


def parse_rate(text: str) -> float:
    """Events a second in a text such as `60/min`; ValueError says what a rate looks like."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|min|h)", text)
    if not match:
        raise ValueError(f"a rate is a number by s, min or h, such as 20/s or 60/min, not {text!r}")
    return float(match[1]) / _RATES[match[2]]


def format_duration(seconds: float) -> str:
    """Return the shortest text of a duration: `5m`, `90s`, `250ms`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit in ("d", "h", "m"):
        if seconds % _DURATIONS[unit] == 0:
            return f"{seconds / _DURATIONS[unit]:g}{unit}"
    return f"{seconds:g}s"


def format_size(octets: int) -> str:
    """Return the shortest exact text of a size: `64KiB`, `1000B`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if octets and octets % _SIZES[unit] == 0:
            return f"{octets // _SIZES[unit]}{unit}"
    return f"{octets}B"


def format_rate(per_second: float) -> str:
    """Return the text of a rate: `20/s`, `30/min`."""
    for unit, factor in _RATES.items():
        if per_second * factor >= 1:
            return f"{per_second * factor:g}/{unit}"
    return f"{per_second * 3600:g}/h"
