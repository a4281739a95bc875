"""The arguments of MAIL, RCPT, EHLO and BDAT, with the parameters of every extension that is offered. Pure.

RFC 5321 4.1.1 and 4.1.2, SIZE (1870), BODY (6152, 3030), SMTPUTF8 (6531), RET, ENVID, NOTIFY and ORCPT (3461), AUTH
(4954 5). A space between the colon and the address is let in, since many clients write it; all else is as the RFCs
have it. `CommandError` holds the reply: 501 for a broken argument, 555 for a parameter that is not known, 553 5.6.7
for an address that needs SMTPUTF8.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn, cast

from multid.mail.address import AddressError, decode_xtext, parse_mailbox, split_path
from multid.mail.envelope import Body, Recipient
from multid.mail.reply import Reply

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_GREETING = re.compile(r"[!#-'*+\--:=?A-\[\]-~]{1,255}")
_CHUNK = re.compile(r"([0-9]{1,19})(?: +(LAST))?", re.IGNORECASE)
Ret = Literal["FULL", "HDRS"]

_NOTIFY = {"NEVER", "SUCCESS", "FAILURE", "DELAY"}


class CommandError(ValueError):
    """The command is refused with `reply`."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, text)


@dataclass(frozen=True, slots=True)
class Mail:
    """What MAIL says: `sender` is '' for the null sender, `size` is 0 where none was declared."""

    sender: str
    size: int = 0
    body: Body = "7BIT"
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None


def parse_mail(argument: str, default_domain: str) -> Mail:
    """Read `FROM:<path> parameters`; a lone local part gets `default_domain`."""
    path, parameters = _path(argument, "FROM", "5.1.7")
    values = _parameters(parameters)
    size = body = ret = envid = None
    utf8 = False
    for keyword, value in values:
        match keyword:
            case "SIZE":
                size = _size(value)
            case "BODY":
                body = _choice(keyword, value, {"7BIT", "8BITMIME", "BINARYMIME"})
            case "SMTPUTF8":
                utf8 = _flag(keyword, value)
            case "RET":
                ret = _choice(keyword, value, {"FULL", "HDRS"})
            case "ENVID":
                envid = _xtext(keyword, value)
            case "AUTH":
                _xtext(keyword, value)
            case _:
                _unknown(keyword)
    sender = _mailbox(path, utf8, default_domain, "5.1.7") if path else ""
    return Mail(sender, size or 0, cast("Body", body or "7BIT"), utf8, cast("Ret", ret), envid)


def parse_rcpt(argument: str, default_domain: str, *, utf8: bool, postmaster: str) -> Recipient:
    """Read `TO:<path> parameters`; `postmaster` is whom `<Postmaster>` without a domain means."""
    path, parameters = _path(argument, "TO", "5.1.3")
    notify: frozenset[str] = frozenset()
    orcpt = None
    for keyword, value in _parameters(parameters):
        match keyword:
            case "NOTIFY":
                notify = _notify(value)
            case "ORCPT":
                orcpt = _orcpt(value)
            case _:
                _unknown(keyword)
    if not path:
        raise CommandError(501, "5.1.3", "A recipient is never empty")
    if path.lower() == "postmaster":
        return Recipient(postmaster, notify, orcpt)
    return Recipient(_mailbox(path, utf8, default_domain, "5.1.3"), notify, orcpt)


def parse_greeting(argument: str) -> str:
    """Return the name of EHLO or HELO; whether it is the client's is not asked (RFC 5321 4.1.4)."""
    if not _GREETING.fullmatch(argument):
        raise CommandError(501, "5.5.4", "A host name or address literal is needed")
    return argument


def parse_bdat(argument: str) -> tuple[int, bool]:
    """Return the octets of a chunk and whether it is the last (RFC 3030)."""
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise CommandError(501, "5.5.4", "Syntax: BDAT octets [LAST]")
    return int(match[1]), match[2] is not None


def _path(argument: str, word: str, enhanced: str) -> tuple[str, str]:
    verb, _, rest = argument.partition(":")
    if verb.upper() != word:
        raise CommandError(501, "5.5.4", f"Syntax: {word}:<address>")
    try:
        return split_path(rest.lstrip(" "))
    except AddressError as error:
        raise CommandError(501, enhanced, f"Bad address syntax: {error}") from None


def _mailbox(path: str, utf8: bool, default_domain: str, enhanced: str) -> str:
    try:
        return parse_mailbox(path, utf8=utf8, default_domain=default_domain)
    except AddressError as error:
        if error.needs_utf8:
            raise CommandError(553, "5.6.7", "The address needs SMTPUTF8") from None
        raise CommandError(501, enhanced, f"Bad address syntax: {error}") from None


def _parameters(text: str) -> Iterator[tuple[str, str | None]]:
    seen = set()
    for word in text.split(" ") if text else ():
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        keyword = match[1].upper() if match else ""
        if match is None or keyword in seen:
            raise CommandError(501, "5.5.4", "Bad or repeated parameter")
        seen.add(keyword)
        yield keyword, match[2]


def _size(value: str | None) -> int:
    if value is None or not re.fullmatch(r"[0-9]{1,20}", value):
        _bad("SIZE")
    return int(value)


def _flag(keyword: str, value: str | None) -> bool:
    if value is not None:
        _bad(keyword)
    return True


def _choice(keyword: str, value: str | None, choices: set[str]) -> str:
    if value is None or value.upper() not in choices:
        _bad(keyword)
    return value.upper()


def _xtext(keyword: str, value: str | None) -> str:
    try:
        plain = decode_xtext(value or "")
    except ValueError:
        _bad(keyword)
    if not plain or len(plain) > 500 or (keyword == "ENVID" and len(plain) > 100):
        _bad(keyword)
    return plain


def _notify(value: str | None) -> frozenset[str]:
    words = frozenset((value or "").upper().split(","))
    if not words <= _NOTIFY or ("NEVER" in words and len(words) > 1):
        _bad("NOTIFY")
    return words


def _orcpt(value: str | None) -> str:
    kind, semicolon, address = (value or "").partition(";")
    if not semicolon or not re.fullmatch(r"[A-Za-z0-9-]+", kind):
        _bad("ORCPT")
    return f"{kind};{_xtext('ORCPT', address)}"


def _bad(keyword: str) -> NoReturn:
    raise CommandError(501, "5.5.4", f"Bad value of {keyword}")


def _unknown(keyword: str) -> NoReturn:
    raise CommandError(555, "5.5.4", f"Parameter {keyword} is not known")
