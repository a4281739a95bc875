"""What a mail is given that a program, a printer or a script left out (RFC 6409 8). Pure.

That is Date, Message-ID, From, and the domain of an address that has none in From, Sender, Reply-To, To or Cc. Only
what is missing is added, and twice is the same as once. A Message-ID is the queue id at the domain, so that it stays
the same however often the mail is sent on.
"""

import re
from dataclasses import dataclass

from multid.mail.address import AddressError, parse_mailbox, split_mailbox
from multid.mail.headers import map_addresses, parse_fields, rfc5322_date

_ADDRESSES = {b"from", b"sender", b"reply-to", b"to", b"cc"}
_SIMPLE = rb"[^\s,;:()<>@\"\\]++"
_QUALIFIED = re.compile(rb"(?:[^,;:()<>@\"\\]*+<%b@%b>|[ \t]*%b@%b)\s*" % ((_SIMPLE,) * 4))
"""One address with its domain, as most fields have."""


@dataclass(frozen=True)
class Completion:
    """Which fields are added; `from_` is also whether addresses get a domain."""

    date: bool = True
    message_id: bool = True
    from_: bool = True


def complete(fields: bytes, completion: Completion, *, sender: str, domain: str, id: str, at: float) -> bytes:  # noqa: A002
    """Return header fields with what was missing; a mail of the null sender gets no From."""
    parsed = parse_fields(fields)
    names = {name.lower() for name, _, _ in parsed}
    if completion.from_ and any(_lacks_domain(name, body) for name, _, body in parsed):
        fields = b"".join(name + colon + _qualified(name, body, domain) for name, colon, body in parsed)
    added = ""
    if completion.date and b"date" not in names:
        added += f"Date: {rfc5322_date(int(at))}\r\n"
    if completion.message_id and b"message-id" not in names:
        added += f"Message-ID: <{id}@{domain}>\r\n"
    if completion.from_ and sender and b"from" not in names:
        added += f"From: <{sender}>\r\n"
    return fields + added.encode()


def _lacks_domain(name: bytes, body: bytes) -> bool:
    """Whether a field may have an address without a domain."""
    return name.lower() in _ADDRESSES and not _QUALIFIED.fullmatch(body)


def _qualified(name: bytes, body: bytes, domain: str) -> bytes:
    if not _lacks_domain(name, body):
        return body

    def qualify(text: str) -> str:
        try:
            parse_mailbox(text, utf8=True, default_domain=domain)
        except AddressError:
            return text
        return text if split_mailbox(text)[0] else f"{text}@{domain}"

    return map_addresses(body, qualify)
