"""Logging in at a next hop: PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), as steps without any I/O. Pure."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Generator

from multid.mail.reply import Reply
from multid.mail.route import Login

Steps = Generator[str, str, None]
"""What is sent, first of all the AUTH command; it is given the text of each 334."""


def mechanisms(offered: str, *, is_secret: bool) -> list[str]:
    """Return the mechanisms of an EHLO's AUTH line that we can speak, the best first.

    Under TLS that is one whose password cannot be guessed from what the server keeps of it; where others may listen,
    one that does not send it.
    """
    ours = ("PLAIN", "LOGIN", "CRAM-MD5") if is_secret else ("CRAM-MD5", "PLAIN", "LOGIN")
    theirs = offered.upper().replace("=", " ").split()
    return [name for name in ours if name in theirs]


def steps(mechanism: str, login: Login) -> Steps:
    """Return the client's side of a mechanism; ValueError if the server's side makes no sense."""
    return {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}[mechanism](login)


def without_secrets(reply: Reply, login: Login) -> Reply:
    """Return a reply in which nothing of what we sent to log in is repeated, as it is or in base64."""
    text = reply.text
    for secret in (login.password, _encode(login.password), _plain_secret(login)):
        text = text.replace(secret, "***") if secret else text
    return Reply(reply.code, reply.enhanced, text)


def _plain(login: Login) -> Steps:
    yield f"AUTH PLAIN {_plain_secret(login)}"


def _login(login: Login) -> Steps:
    yield "AUTH LOGIN"
    yield _encode(login.user)
    yield _encode(login.password)


def _cram_md5(login: Login) -> Steps:
    challenge = yield "AUTH CRAM-MD5"
    digest = hmac.new(login.password.encode(), b64decode(challenge, validate=True), hashlib.md5).hexdigest()
    yield _encode(f"{login.user} {digest}")


def _plain_secret(login: Login) -> str:
    return _encode(f"\0{login.user}\0{login.password}")


def _encode(text: str) -> str:
    return b64encode(text.encode()).decode()
