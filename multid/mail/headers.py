"""Header fields of RFC 5322 as octets, and the Received field that this relay adds (RFC 5321 4.4). Pure.

A header block is whole lines that end in CRLF. It is looked at only as far as the task needs it: names at the
beginning of lines.
"""

import re
from functools import lru_cache
from time import gmtime, strftime

_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+)*+")
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


def fields_end(head: bytes) -> int:
    """Return where the first line begins that is no header field."""
    match = _FIELDS.match(head)
    return match.end() if match else 0


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
