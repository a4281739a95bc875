"""Header fields of RFC 5322 as octets, and the Received field that this relay adds (RFC 5321 4.4). Pure.

A header block is whole lines that end in CRLF. It is looked at only as far as the task needs it: names at the
beginning of lines.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from time import gmtime, strftime

_BEGINNING = re.compile(rb"[ \t]|[!-9;-~]{1,256}+[ \t]{0,16}+:")
_FIELDS = re.compile(rb"(?>(?:[!-9;-~]{1,256}+[ \t]{0,16}+:[^\r\n]*+\r\n(?>(?:[ \t][^\r\n]*+\r\n)*))*)")
_FIELD = re.compile(rb"([!-9;-~]{1,256}+)([ \t]{0,16}+:)([^\r\n]*+\r\n(?>(?:[ \t][^\r\n]*+\r\n)*))")
_QUOTED = r'"(?>(?:[^"\\]|\\.)*)"'
_WORD = rf"(?:{_QUOTED}|[^\s()<>@,;:\\\"\[\]]++)(?:@(?:\[[^\]\s]*+\]|[^\s()<>@,;:\\\"\[\]]++))?"
_TOKEN = re.compile(rf"\\.|[(),;:]|<(?>(?:{_QUOTED}|[^<>\"])*)>|{_WORD}|\S", re.DOTALL)
_RECEIVED = re.compile(rb"^received[ \t]{0,16}:", re.IGNORECASE | re.MULTILINE)


def fields_end(head: bytes) -> int:
    """Return where the first line begins that is no header field."""
    match = _FIELDS.match(head)
    return match.end() if match else 0


def begins_field(line: bytes) -> bool:
    """Whether a line that is not whole yet, but longer than any name, will be part of the header."""
    return _BEGINNING.match(line) is not None


def count_received(fields: bytes) -> int:
    """Return how many relays the mail has passed."""
    return len(_RECEIVED.findall(fields))


def received(*, helo: str, literal: str, by: str, protocol: str, id: str, recipient: str, at: float) -> bytes:  # noqa: A002
    """Return a Received field; `literal` is the peer as an address literal, `recipient` is empty unless it is alone."""
    peer = f"{helo} ({literal})" if literal else helo
    to = f"\r\n\tfor <{recipient}>" if recipient else ""
    return f"Received: from {peer}\r\n\tby {by} with {protocol} id {id}{to};\r\n\t{rfc5322_date(int(at))}\r\n".encode()


@lru_cache(maxsize=2)
def rfc5322_date(at: int) -> str:
    """Return a time in UTC as a header has it: `Tue, 24 Nov 2026 22:56:41 +0000`."""
    moment = gmtime(at)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.tm_wday]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{day}, {moment.tm_mday:02} {months[moment.tm_mon - 1]} {strftime('%Y %H:%M:%S', moment)} +0000"


def parse_fields(fields: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return each field of a block in three parts: its name, the colon, the body with its line ends."""
    return _FIELD.findall(fields)


def map_addresses(body: bytes, change: Callable[[str], str]) -> bytes:
    """Return a field body of addresses with each address (`local@domain`, or a lone `local`) changed; all else stays.

    Display names, comments, groups and folds are kept as they are, and so is what is no address.
    """
    text = body.decode("utf-8", "surrogateescape")
    pieces, at = [], 0
    for start, end in _find_addresses(text):
        pieces += [text[at:start], change(text[start:end])]
        at = end
    return "".join([*pieces, text[at:]]).encode("utf-8", "surrogateescape")


def _find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Give the place of each address in an address list (RFC 5322 3.4)."""
    words: list[tuple[int, int]] = []
    angle: tuple[int, int] | None = None
    for kind, start, end in [*_tokens(text), (",", len(text), len(text))]:
        if kind == "word":
            words.append((start, end))
        elif kind == "<":
            angle = angle or (start + 1, end - 1)
        elif kind == ":":
            words = []
        elif kind in {",", ";"}:
            if angle is not None:
                yield angle
            elif len(words) == 1:
                yield words[0]
            words, angle = [], None


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    depth = 0
    for match in _TOKEN.finditer(text):
        first = match[0][0]
        if first in "()":
            depth = max(0, depth + (1 if first == "(" else -1))
        elif not depth:
            is_mark = first in ",;:" or (first == "<" and len(match[0]) > 1)
            yield first if is_mark else "word", match.start(), match.end()
