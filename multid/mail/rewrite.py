"""Addresses that become others when a mail comes in, in the envelope and in the header together. Pure.

A sender's rule changes the envelope's sender and the addresses in From, Sender and Reply-To; display names stay, and
the From field as it was is kept as X-Original-From. A recipient's rule changes the envelope only, to one or several
others. The first rule that matches counts. The null sender is never rewritten, nor is an address that some rule of
the same kind leads to: so twice is the same as once.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from multid.mail.address import AddressError, Pattern, parse_mailbox
from multid.mail.envelope import Recipient
from multid.mail.headers import map_addresses, parse_fields

_SENDERS = {b"from", b"sender", b"reply-to"}


@dataclass(frozen=True)
class SenderRule:
    """Senders that become one."""

    pattern: Pattern
    to: str


@dataclass(frozen=True)
class RecipientRule:
    """Recipients that become others."""

    pattern: Pattern
    to: tuple[str, ...]


@dataclass(frozen=True)
class Rewriting:
    """All rules of a relay."""

    senders: tuple[SenderRule, ...] = ()
    recipients: tuple[RecipientRule, ...] = ()

    @cached_property
    def _new_senders(self) -> set[str]:
        return {rule.to.casefold() for rule in self.senders}

    @cached_property
    def _new_recipients(self) -> set[str]:
        return {address.casefold() for rule in self.recipients for address in rule.to}

    def sender(self, address: str) -> str:
        """Return what a sender becomes; '' stays the null sender."""
        if not address or address.casefold() in self._new_senders:
            return address
        return next((rule.to for rule in self.senders if rule.pattern.matches(address)), address)

    def recipient(self, recipient: Recipient) -> tuple[Recipient, ...]:
        """Return what a recipient becomes; reports name it as it was (RFC 3461 5.2.7.1)."""
        if recipient.address.casefold() in self._new_recipients:
            return (recipient,)
        for rule in self.recipients:
            if rule.pattern.matches(recipient.address):
                original = recipient.orcpt or f"rfc822;{recipient.address}"
                return tuple(replace(recipient, address=address, orcpt=original) for address in rule.to)
        return (recipient,)

    def header(self, fields: bytes) -> bytes:
        """Return header fields with the senders rewritten."""
        if not self.senders:
            return fields
        parsed = parse_fields(fields)
        keeps_original = any(name.lower() == b"x-original-from" for name, _, _ in parsed)
        new = []
        for name, colon, body in parsed:
            changed = map_addresses(body, self._header_sender) if name.lower() in _SENDERS else body
            new.append(name + colon + changed)
            if name.lower() == b"from" and changed != body and not keeps_original:
                new.append(b"X-Original-From:" + body)
                keeps_original = True
        return b"".join(new)

    def _header_sender(self, text: str) -> str:
        try:
            address = parse_mailbox(text, utf8=True)
        except AddressError:
            return text
        new = self.sender(address)
        return text if new == address else new
