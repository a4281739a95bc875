"""Mail addresses as SMTP writes them: paths, xtext, and the patterns of the file. Pure.

`parse_mailbox` is the grammar of RFC 5321 4.1.2, with UTF-8 (RFC 6531 3.3) where it was announced: local parts with
dots or quotes, domains, address literals. Its result is canonical: a source route is stripped, quotes that are not
needed are taken away, the case is kept. Limits of 4.5.3.1: local part 64 octets, domain 255, path 256 with its
brackets. An underscore in a domain is let in, since host names have them. No control character, quoted or not, ever
gets through.
"""

import ipaddress
import re

MAX_LOCAL, MAX_DOMAIN, MAX_PATH = 64, 255, 256

# What is not ASCII is allowed everywhere: classes name the ASCII that is not, since `re` takes 40 ms for the others.
_ATOM = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]+'
_DOT_STRING = re.compile(rf"{_ATOM}(?>(?:\.{_ATOM})*)")
_QUOTED = re.compile(r'"((?>(?:[^"\\]|\\[ -~])*))"')
_LETTER_OR_DIGIT, _OR_HYPHEN = r"[^\x00-/:-@\[-^`{-\x7f]", r"[^\x00-,./:-@\[-^`{-\x7f]"
_LABEL = rf"{_LETTER_OR_DIGIT}(?:{_OR_HYPHEN}{{0,61}}{_LETTER_OR_DIGIT})?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PLAIN_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]++"
_PLAIN_LABEL = r"\w(?:[\w-]*\w)?"
_PLAIN = re.compile(rf"{_PLAIN_ATOM}(?>(?:\.{_PLAIN_ATOM})*)@{_PLAIN_LABEL}(?:\.{_PLAIN_LABEL})*", re.ASCII)
_PATH = re.compile(r'<((?>(?:[^<>"\\]|"(?>(?:[^"\\]|\\.)*)")*))>')
_ROUTE = re.compile(r"@[^@:,\"]+(?:,@[^@:,\"]+)*:")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")


class AddressError(ValueError):
    """Not an address; `needs_utf8` if it could be one under SMTPUTF8."""

    def __init__(self, text: str, *, needs_utf8: bool = False) -> None:
        super().__init__(text)
        self.needs_utf8 = needs_utf8


def split_path(text: str) -> tuple[str, str]:
    """Part `<path> parameters` into the path without its brackets and the rest; AddressError if there is no path."""
    match = _PATH.match(text)
    if match is None:
        raise AddressError("an address in angle brackets is missing")
    if len(match[0].encode("utf-8", "surrogateescape")) > MAX_PATH and not _ROUTE.match(match[1]):
        raise AddressError("the path is longer than 256 octets")
    rest = text[match.end() :]
    if rest and rest[0] != " ":
        raise AddressError("a space is missing after the address")
    return match[1], rest.strip(" ")


def parse_mailbox(text: str, *, utf8: bool = False, default_domain: str = "") -> str:
    """Return the canonical `local@domain` of a path's inside (without brackets); AddressError says what is wrong.

    `default_domain` is put behind a local part that stands alone; without it that is an error.
    """
    if len(text) <= MAX_LOCAL and _PLAIN.fullmatch(text):
        return text  # as nearly all are, and too short for any limit
    if not text.isascii() and not utf8:
        raise AddressError("the address needs SMTPUTF8", needs_utf8=True)
    if not text.isprintable():
        raise AddressError("the address has a control character")
    route = _ROUTE.match(text)
    if route:
        text = text[route.end() :]
    local, domain = _split(text)
    domain = domain or default_domain
    if not domain:
        raise AddressError("the domain is missing")
    if len(domain.encode()) > MAX_DOMAIN or not _is_domain(domain):
        raise AddressError("the domain is not valid")
    address = f"{_local(local)}@{domain}"
    if len(address.encode()) > MAX_PATH - len("<>"):
        raise AddressError("the path is longer than 256 octets")
    return address


def split_mailbox(address: str) -> tuple[str, str]:
    """Part a canonical address into local part and domain; the null sender is two empty texts."""
    local, _, domain = address.rpartition("@")
    return local, domain


def _split(text: str) -> tuple[str, str]:
    match = _QUOTED.match(text) or _DOT_STRING.match(text)
    if match is None:
        raise AddressError("the local part is not valid")
    rest = text[match.end() :]
    if rest and (rest[0] != "@" or len(rest) == 1):
        raise AddressError("the local part is not valid")
    return match[0], rest[1:]


def _local(text: str) -> str:
    if len(text.encode()) > MAX_LOCAL:
        raise AddressError("the local part is longer than 64 octets")
    if text[0] != '"':
        return text
    plain = re.sub(r"\\(.)", r"\1", text[1:-1])
    if _DOT_STRING.fullmatch(plain):
        return plain
    return '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"'


def _is_domain(text: str) -> bool:
    if not text.startswith("["):
        return _DOMAIN.fullmatch(text) is not None
    try:
        if text[1:6].lower() == "ipv6:":
            return text.endswith("]") and bool(ipaddress.IPv6Address(text[6:-1]))
        return text.endswith("]") and bool(ipaddress.IPv4Address(text[1:-1]))
    except ValueError:
        return False


def encode_xtext(text: str) -> str:
    """Return the xtext of RFC 3461 4: a value in which a parameter can hold any printable ASCII text."""
    return re.sub(r"[^!-*,-<>-~]", lambda match: f"+{ord(match[0]):02X}", text)


def decode_xtext(text: str) -> str:
    """Return what an xtext stands for; ValueError if it is none, or hides a control or 8-bit character."""
    if not _XTEXT.fullmatch(text):
        raise ValueError("not valid xtext")
    plain = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    if not plain.isprintable() or not plain.isascii():
        raise ValueError("a control character in xtext")
    return plain


class Pattern:
    """An address pattern of the file: `*` stands for any text, `<>` is the null sender alone; case is ignored."""

    def __init__(self, text: str) -> None:
        if text != "<>" and "@" not in text and text != "*":
            raise ValueError(f"an address pattern is written *@example.org, root@*, * or <>, not {text!r}")
        self.text = text
        parts = (re.escape(part) for part in text.casefold().split("*"))
        self._match = re.compile(".*".join(parts), re.DOTALL).fullmatch

    def matches(self, address: str) -> bool:
        """Whether a canonical address, or '' for the null sender, fits."""
        if not address:
            return self.text == "<>"
        return self._match(address.casefold()) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"
