"""What is known of a mail besides its content: whence, whereto, and how its sender wants to hear of it. Pure.

An envelope is made once, when the mail is accepted, and never changed; what happens to a recipient later is the
queue's. Addresses are canonical (`multid.mail.address`), DSN texts are decoded from xtext (RFC 3461).
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Body = Literal["7BIT", "8BITMIME", "BINARYMIME"]
Origin = Literal["smtp", "sendmail", "dsn"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = 12
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_NUMBERS = {pair: number for number, pair in enumerate(_PAIRS)}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient: `notify` holds NEVER alone, or some of SUCCESS, FAILURE, DELAY; empty if none was given."""

    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail without its content.

    `sender` is '' for the null sender. `size` is the stored content's octets. `body` is what the content is, not what
    was declared: 7BIT only if every octet is ASCII. `smtputf8` is set only if it is needed: an address or the header
    is not ASCII. `received_at` is wall time. `peer` is `host:port` or empty, `tls` the protocol version or empty.
    """

    id: str
    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    received_at: float
    body: Body = "7BIT"
    smtputf8: bool = False
    ret: Literal["FULL", "HDRS"] | None = None
    envid: str | None = None
    origin: Origin = "smtp"
    peer: str = ""
    helo: str = ""
    auth_user: str = ""
    tls: str = ""


def queue_number(id_: str) -> int:
    """Return the number, below 2**60, that a queue id stands for; ValueError if the text is none."""
    if len(id_) != _DIGITS:
        raise ValueError(f"a queue id has {_DIGITS} digits")
    number = 0
    for at in range(0, _DIGITS, 2):
        if (pair := _NUMBERS.get(id_[at : at + 2])) is None:
            raise ValueError(f"a digit of a queue id is one of {_ALPHABET}")
        number = number << 10 | pair
    return number


def queue_id(number: int) -> str:
    """Return the queue id of a number."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(5 * _DIGITS - 10, -1, -10)])


def received_at(id_: str) -> float:
    """Return the time, to the millisecond, that a queue id was made."""
    return (queue_number(id_) >> 18) / 1000


class QueueIds:
    """Queue ids such as `01J9T3QX7MAB`: 42 bits of time (ms), 18 at random; each is greater than the last."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last = 0

    def __call__(self) -> str:
        """Return the next id."""
        fresh = int(self._clock() * 1000) << 18 | random.getrandbits(18)
        self._last = max(fresh, self._last + 1)
        return queue_id(self._last)
