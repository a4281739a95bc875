"""Syslog messages: RFC 5424 by its grammar, RFC 3164 as it is found in the wild. Pure.

`parse` returns what it found by the names `pri facility severity timestamp host app procid msgid data message`; what
is absent or `-` is left out. Nothing is refused: a line without `<PRI>` is a message of priority 13 (RFC 3164 4.3.3),
and one that begins as RFC 5424 but does not keep to it has `parse_error`, which says where it leaves the grammar.
Times are RFC 3339; RFC 3164 tells neither year nor zone, so the year is that nearest to now and the zone this host's.
"""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from multid.lines.escape import escape

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
DEFAULT_PRI = 13
_DEFAULT = b"<%d>" % DEFAULT_PRI

PRIS = {b"<%d>" % pri: (pri, FACILITIES[pri >> 3], SEVERITIES[pri & 7]) for pri in range(192)}
_LONGEST_PRI = len(b"<191>")
_VERSION = re.compile(rb"[1-9]\d{0,2} ")
_STAMP = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d))"
_HEADER = re.compile(rb"1 (?:-|" + _STAMP + rb") [!-~]{1,255} [!-~]{1,48} [!-~]{1,128} [!-~]{1,32} ")
_HEADER_FIELDS = (
    ("TIMESTAMP", re.compile(rb"-|" + _STAMP)),
    ("HOSTNAME", re.compile(rb"[!-~]{1,255}")),
    ("APP-NAME", re.compile(rb"[!-~]{1,48}")),
    ("PROCID", re.compile(rb"[!-~]{1,128}")),
    ("MSGID", re.compile(rb"[!-~]{1,32}")),
)
_NAME = rb"[!#-<>-\\^-~]{1,32}"
_PARAM = re.compile(rb" (" + _NAME + rb')="((?:[^"\\\]]|\\.)*)"', re.DOTALL)
_ELEMENT = re.compile(rb"\[(" + _NAME + rb")")
_ESCAPED = re.compile(rb'\\(["\\\]])')
_BOM = b"\xef\xbb\xbf"

_MONTHS = {name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_BSD_STAMP = re.compile(
    rb"[*.]?(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ 0-3]?\d)(?: (\d{4}))? "
    rb"(\d\d):(\d\d):(\d\d)(\.\d{1,6})?:? "
)
_ISO_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?) ")
_BSD_HOST = re.compile(rb"([!-9;-~]{1,255}|[0-9A-Fa-f:.]{2,45}) ")
_BSD_TAG = re.compile(rb"([^\s:\[\]%]{1,48})(?:\[([^\]\s]{0,128})\])?:(?: |$)")


def parse(line: bytes, now: float | None = None) -> dict[str, Any]:
    """Return what is found in a line; `now` is in seconds since 1970."""
    at = _pri_end(line)
    pri, facility, severity = PRIS[line[:at]] if at else PRIS[_DEFAULT]
    fields: dict[str, Any] = {"pri": pri, "facility": facility, "severity": severity}
    if at and _VERSION.match(line, at):
        _parse_5424(line, at, fields)
    else:
        _parse_3164(line, at, fields, int((time.time() if now is None else now) // 86400))
    return fields


def severity(line: bytes) -> int:
    """Return the number of the severity that a line names, 0 to 7; that of 13 where it names none."""
    return PRIS[line[: _pri_end(line)] or _DEFAULT][0] & 7


def _pri_end(line: bytes) -> int:
    """Return where a valid `<PRI>` ends, 0 where there is none."""
    end = line.find(b">", 0, _LONGEST_PRI) + 1
    return end if line[:end] in PRIS else 0


def _parse_5424(line: bytes, at: int, fields: dict[str, Any]) -> None:
    header = _HEADER.match(line, at)
    if header is None:
        fields["parse_error"] = _what_is_wrong(line, at)
        return
    end = header.end()
    _, stamp, host, app, procid, msgid, _ = line[at:end].decode().split(" ")
    if stamp != "-" and not _is_time(stamp):
        fields["parse_error"] = "TIMESTAMP is no time"
        return
    data: dict[str, dict[str, Any]] = {}
    if line.startswith(b"- ", end):
        end += 1
    else:
        try:
            data, end = _structured_data(line, end)
        except ValueError as error:
            fields["parse_error"] = str(error)
            return
    if stamp != "-":
        fields["timestamp"] = stamp
    if host != "-":
        fields["host"] = host
    if app != "-":
        fields["app"] = app
    if procid != "-":
        fields["procid"] = procid
    if msgid != "-":
        fields["msgid"] = msgid
    if data:
        fields["data"] = data
    fields["message"] = line[end + 1 :].removeprefix(_BOM)


def _what_is_wrong(line: bytes, at: int) -> str:
    if not line.startswith(b"1 ", at):
        return "VERSION is not 1"
    at += 2
    for name, pattern in _HEADER_FIELDS:
        found = pattern.match(line, at)
        if not found or line[found.end() : found.end() + 1] != b" ":
            return f"{name} is malformed"
        at = found.end() + 1
    return "STRUCTURED-DATA is missing"


def _is_time(stamp: str) -> bool:
    try:
        datetime.fromisoformat(stamp)
    except ValueError:
        return False
    return True


def _structured_data(line: bytes, at: int) -> tuple[dict[str, dict[str, Any]], int]:
    data: dict[str, dict[str, Any]] = {}
    if line.startswith(b"-", at):
        at += 1
    else:
        while element := _ELEMENT.match(line, at):
            at = _parameters(line, element.end(), data, element[1].decode())
        if not data:
            raise ValueError("STRUCTURED-DATA is malformed")
    if at < len(line) and line[at : at + 1] != b" ":
        raise ValueError("STRUCTURED-DATA is malformed")
    return data, at


def _parameters(line: bytes, at: int, data: dict[str, dict[str, Any]], name: str) -> int:
    if name in data:
        raise ValueError("STRUCTURED-DATA has an SD-ID twice")
    parameters: dict[str, Any] = {}
    data[name] = parameters
    while parameter := _PARAM.match(line, at):
        key = parameter[1].decode()
        try:
            plain = _ESCAPED.sub(rb"\1", parameter[2]) if b"\\" in parameter[2] else parameter[2]
            value: Any = plain.decode()
        except UnicodeDecodeError:
            raise ValueError("STRUCTURED-DATA is not UTF-8") from None
        if key in parameters:
            value = [*_list(parameters[key]), value]
        parameters[key] = value
        at = parameter.end()
    if line[at : at + 1] != b"]":
        raise ValueError("STRUCTURED-DATA is malformed")
    return at + 1


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _parse_3164(line: bytes, at: int, fields: dict[str, Any], today: int) -> None:
    stamp = _BSD_STAMP.match(line, at)
    if stamp:
        when = nearest(stamp[0], today)
    else:
        stamp = _ISO_STAMP.match(line, at)
        when = _with_zone(stamp[1].decode()) if stamp else None
    if stamp is None or when is None:
        fields["message"] = line[at:]
        return
    fields["timestamp"] = when
    at = stamp.end()
    host = None if _BSD_TAG.match(line, at) else _BSD_HOST.match(line, at)
    if host:
        fields["host"] = host[1].decode()
        at = host.end()
    tag = _BSD_TAG.match(line, at)
    if tag:
        fields["app"] = _text(tag[1])
        if tag[2]:
            fields["procid"] = _text(tag[2])
        at = tag.end()
    fields["message"] = line[at:]


def _with_zone(stamp: str) -> str | None:
    try:
        when = datetime.fromisoformat(stamp)
        return stamp if when.tzinfo else when.astimezone().isoformat()
    except (ValueError, OverflowError):  # the latter for the first and last day that there is, in another zone
        return None


@lru_cache(maxsize=64)
def nearest(text: bytes, today: int) -> str | None:
    """Return a time without a year and a zone as RFC 3339; lines of one second share it."""
    stamp = _BSD_STAMP.match(text)
    if stamp is None:
        return None
    month, day, year, *clock, fraction = stamp.groups()
    hour, minute, second = map(int, clock)
    microsecond = round(float(fraction) * 1_000_000) if fraction else 0
    now = datetime.fromtimestamp(today * 86400 + 43200).astimezone()
    years = (int(year),) if year else (now.year - 1, now.year, now.year + 1)
    found = []
    for each in years:
        with suppress(ValueError, OverflowError):
            moment = datetime(each, _MONTHS[month], int(day), hour, minute, second, microsecond)  # noqa: DTZ001
            found.append(moment.astimezone())
    return min(found, key=lambda moment: abs(moment - now)).isoformat() if found else None


@lru_cache(maxsize=1024)
def _text(data: bytes) -> str:
    return escape(data).decode()


def is_5424(fields: Mapping[str, Any], line: bytes) -> bool:
    """Whether a parsed line is an RFC 5424 message as it stands."""
    at = _pri_end(line)
    return at > 0 and "parse_error" not in fields and _VERSION.match(line, at) is not None
