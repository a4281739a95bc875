r"""Delivery status notifications: the mail that tells a sender what became of a mail (RFC 3461, 3464, 6522). Pure.

A report has three parts: a text for people, `message/delivery-status` for programs, and the mail it is about, whole
(`message/rfc822`) if it is small text and its sender asked for RET=FULL, else its header alone (`text/rfc822-headers`).
What a report says is ASCII whatever it is about, so that it reaches everybody: in the second part an address that is
not has the form of RFC 6533 3 (`utf-8; \x{FC}@example.com`), in the others a character that is not is written `\xfc`.
Texts of other servers are quoted in one line, and cut when they are long.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from multid.mail.envelope import Envelope, Recipient
from multid.mail.headers import rfc5322_date
from multid.mail.queued import Delivery
from multid.mail.reply import Reply

Action = Literal["failed", "delayed", "relayed"]

MAX_RETURNED = 64 * 1024
"""Octets of a mail that are returned at most; of a larger one the header, as much as fits."""

_MAX_TEXT = 900

_SUBJECTS = {"failed": "Undelivered mail", "delayed": "Delayed mail, still being tried", "relayed": "Mail passed on"}
_TEXTS = {
    "failed": "Your mail could not be delivered to these recipients, and is not tried again:",
    "delayed": "Your mail could not yet be delivered to these recipients. You need not\r\n"
    "send it again, it is still being tried:",
    "relayed": "Your mail for these recipients was passed on to a server that may not\r\nreport its delivery:",
}


@dataclass(frozen=True)
class Notice:
    """What a report is to say: `action` about some `recipients` of the mail of `envelope`.

    `to` is who is told, `content` the beginning of the mail, `is_whole` whether that is all of it; `retried_until` is
    for delayed mail. Times are wall time.
    """

    action: Action
    envelope: Envelope
    recipients: Sequence[tuple[Recipient, Delivery]]
    to: str
    content: bytes
    is_whole: bool
    retried_until: float


def build_report(notice: Notice, *, id_: str, hostname: str, domain: str, now: float) -> bytes:
    """Return a report as a mail; `id_` is its queue id, `hostname` and `domain` are ours."""
    boundary = f"{id_}/{hostname}"
    head = (
        f"From: Mail Delivery System <MAILER-DAEMON@{domain}>\r\n"
        f"To: <{notice.to}>\r\n"
        f"Subject: {_SUBJECTS[notice.action]}\r\n"
        f"Date: {rfc5322_date(int(now))}\r\n"
        f"Message-ID: <{id_}@{hostname}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n'
    )
    part = f"\r\n--{boundary}\r\n".encode()
    parts = [head.encode(), _explanation(notice, hostname), _status(notice, hostname, now), _returned(notice)]
    return part.join(parts) + f"\r\n--{boundary}--\r\n".encode()


def status_code(reply: Reply | None, action: Action, *, is_expired: bool) -> str:
    """Return the status of RFC 3463 that a recipient's last reply amounts to."""
    if action == "failed" and (is_expired or reply is None):
        return "5.4.7"
    if reply is None:
        return "4.4.7"
    return reply.enhanced or f"{reply.code // 100}.0.0"


def _explanation(notice: Notice, hostname: str) -> bytes:
    lines = [
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is the mail server of {hostname}.",
        "",
        *_TEXTS[notice.action].split("\r\n"),
        "",
    ]
    for recipient, delivery in notice.recipients:
        lines.append(f"<{recipient.address}>:")
        lines.append(f"    {_quoted(delivery.reply)}" if delivery.reply else "    no server could be reached")
        if delivery.remote:
            lines.append(f"    said {delivery.remote}")
    return _ascii("\r\n".join([*lines, ""]))


def _status(notice: Notice, hostname: str, now: float) -> bytes:
    envelope = notice.envelope
    fields = ["Content-Type: message/delivery-status", ""]
    if envelope.envid:
        fields.append(f"Original-Envelope-Id: {envelope.envid}")
    fields += [f"Reporting-MTA: dns; {hostname}", f"Arrival-Date: {rfc5322_date(int(envelope.received_at))}"]
    for recipient, delivery in notice.recipients:
        fields += ["", *_recipient_fields(notice, recipient, delivery, now)]
    return _ascii("\r\n".join([*fields, ""]))


def _recipient_fields(notice: Notice, recipient: Recipient, delivery: Delivery, now: float) -> list[str]:
    fields = [f"Original-Recipient: {_typed(recipient.orcpt)}"] if recipient.orcpt else []
    reply = delivery.reply
    is_expired = reply is None or not reply.is_permanent
    fields += [
        f"Final-Recipient: {_typed(f'rfc822;{recipient.address}')}",
        f"Action: {notice.action}",
        f"Status: {status_code(reply, notice.action, is_expired=is_expired)}",
    ]
    if delivery.remote:
        fields.append(f"Remote-MTA: dns; {delivery.remote}")
    if reply is not None:
        fields.append(f"Diagnostic-Code: smtp; {_quoted(reply)}")
    fields.append(f"Last-Attempt-Date: {rfc5322_date(int(now))}")
    if notice.action == "delayed":
        fields.append(f"Will-Retry-Until: {rfc5322_date(int(notice.retried_until))}")
    return fields


def _returned(notice: Notice) -> bytes:
    is_text = notice.envelope.body != "BINARYMIME"  # a report is sent by lines
    if notice.envelope.ret == "FULL" and is_text and notice.is_whole and len(notice.content) <= MAX_RETURNED:
        encoding = b"" if notice.content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
        return b"Content-Type: message/rfc822\r\n" + encoding + b"\r\n" + notice.content
    header, _, _ = notice.content.partition(b"\r\n\r\n")
    text = header[:MAX_RETURNED].replace(b"\0", b"\\x00").decode("utf-8", "backslashreplace")
    return _ascii(f"Content-Type: text/rfc822-headers\r\n\r\n{text}\r\n")


def _typed(address: str) -> str:
    kind, _, value = address.partition(";")
    if value.isascii():
        return f"{kind}; {value}"
    return "utf-8; " + re.sub(r"[^ -~]|\\", lambda match: f"\\x{{{ord(match[0]):02X}}}", value)


def _quoted(reply: Reply) -> str:
    return str(reply)[:_MAX_TEXT]


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
