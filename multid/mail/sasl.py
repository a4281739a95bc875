"""The server's half of SASL PLAIN (RFC 4616) and LOGIN, and base64 as AUTH has it (RFC 4954 4). Pure.

An exchange is a generator: it yields challenges, is sent responses, and returns the credentials. ValueError: the
client's response is broken.
"""

import base64
from collections.abc import Generator
from dataclasses import dataclass, field

Exchange = Generator[bytes, bytes, "Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, which no text of this ever shows."""

    user: str
    password: bytes = field(repr=False)


def plain() -> Exchange:
    """One response: who to act as (nobody but oneself), user and password, parted by NUL."""
    acting, user, password = (yield b"").split(b"\0")
    if acting not in {b"", user}:
        raise ValueError("acting for another user")
    return _credentials(user, password)


def login() -> Exchange:
    """Ask for the user, then for the password."""
    user = yield b"Username:"
    return _credentials(user, (yield b"Password:"))


MECHANISMS = {"PLAIN": plain, "LOGIN": login}


def _credentials(user: bytes, password: bytes) -> Credentials:
    name = user.decode("utf-8")
    if not name or not name.isprintable() or not password:
        raise ValueError("an empty or unprintable user name, or no password")
    return Credentials(name, password)


def decode(text: str) -> bytes:
    """Return what a client's response stands for."""
    return base64.b64decode(text.encode("ascii"), validate=True)


def encode(challenge: bytes) -> str:
    """Return a challenge as it is sent behind 334."""
    return base64.b64encode(challenge).decode("ascii")
