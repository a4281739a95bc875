"""A mail as its next hop can take it: its content by DATA, its addresses without SMTPUTF8 where the hop has none.

Nearly all mails are fit, which is seen at a glance. What is not is converted (`multid.mail.downgrade`) outside the
reactor's thread; a content in a file is converted while it is sent. A mail of more than `MOST` octets is not converted,
so that the memory one conversion takes has a bound, and there is one at a time.

Without SMTPUTF8 an address goes as A-labels if only its domain is not ASCII (RFC 6531 3.2); a local part or a header
that is not ASCII goes nowhere then.
"""

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from twisted.internet.threads import deferToThreadPool

from multid.mail.address import split_mailbox
from multid.mail.downgrade import CannotConvertError, Plan, converted, has_long_line, is_fit, plan
from multid.mail.queued import Content, QueuedMail
from multid.mail.reply import Reply
from multid.mail.transfer import BLOCK, FileBlocks

MOST = 64 << 20
"""Octets of the largest mail that is converted."""

NOT_INTERNATIONAL = Reply(550, "5.6.7", "The next hop does not take UTF-8 in addresses or header (SMTPUTF8)")
TOO_BIG = Reply(554, "5.6.3", f"The mail would have to be converted, and has more than {MOST} octets")

_one_at_a_time = threading.Lock()


class UnfitError(Exception):
    """The mail has no form that the hop takes; `reply` is permanent and says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


@dataclass(frozen=True)
class Fitted:
    """What is sent: the content, and how it becomes what is sent if it lies in a file; `size` is 0 if not known yet."""

    content: Content
    size: int
    is_8bit: bool
    smtputf8: bool
    plan: Plan | None = None

    def blocks(self, reactor: Any) -> FileBlocks:
        """Return what reads the content out of its file."""
        path = self.content.path or ""
        return FileBlocks(reactor, path) if self.plan is None else _ConvertedBlocks(reactor, path, self.plan)


async def fitted(reactor: Any, mail: QueuedMail, extensions: Collection[str]) -> Fitted:
    """Return a mail in a form for a hop with these extensions; UnfitError if there is none."""
    envelope, content = mail.envelope, mail.content
    is_7bit, is_utf8 = "8BITMIME" not in extensions, envelope.smtputf8 and "SMTPUTF8" in extensions
    keeps_header = is_utf8 or not envelope.smtputf8
    may_go = envelope.body == "7BIT" or (envelope.body == "8BITMIME" and not is_7bit)
    is_8bit = envelope.body != "7BIT" and not is_7bit
    as_it_is = Fitted(content, envelope.size, is_8bit, is_utf8)
    if may_go and keeps_header and content.data is not None and not has_long_line(content.data):
        return as_it_is
    if not keeps_header and as_ascii(envelope.sender) is None:
        raise UnfitError(NOT_INTERNATIONAL)
    work = _fit_file if content.data is None else _fit_memory
    try:
        return await deferToThreadPool(
            reactor, reactor.getThreadPool(), work, as_it_is, is_7bit=is_7bit, keeps_header=keeps_header
        )
    except CannotConvertError as error:
        raise UnfitError(Reply(554, "5.6.3", f"The next hop does not take the mail as it is, and {error}")) from None


def as_ascii(address: str) -> str | None:
    """Return an address with its domain in A-labels; None where that is not enough."""
    if address.isascii():
        return address
    local, domain = split_mailbox(address)
    try:
        return f"{local}@{domain.encode('idna').decode()}" if local.isascii() else None
    except UnicodeError:
        return None


# In a thread


def _fit_memory(mail: Fitted, *, is_7bit: bool, keeps_header: bool) -> Fitted:
    data = mail.content.data or b""
    _check_header(data, keeps_header=keeps_header)
    if is_fit([data], is_7bit=is_7bit):
        return mail
    data = b"".join(converted(plan(data, is_7bit=is_7bit), lambda start, end: data[start:end]))
    return Fitted(Content(len(data), data), len(data), mail.is_8bit, mail.smtputf8)


def _fit_file(mail: Fitted, *, is_7bit: bool, keeps_header: bool) -> Fitted:
    descriptor = os.open(mail.content.path or "", os.O_RDONLY | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        _check_header(file.read(BLOCK), keeps_header=keeps_header)
        file.seek(0)
        if is_fit(iter(lambda: file.read(BLOCK), b""), is_7bit=is_7bit):
            return mail
        if mail.content.size > MOST:
            raise UnfitError(TOO_BIG)
        file.seek(0)
        with _one_at_a_time:
            steps = plan(file.read(), is_7bit=is_7bit)
    return Fitted(mail.content, 0, mail.is_8bit, mail.smtputf8, steps)


def _check_header(beginning: bytes, *, keeps_header: bool) -> None:
    if not keeps_header and not beginning.partition(b"\r\n\r\n")[0].isascii():
        raise UnfitError(NOT_INTERNATIONAL)


class _ConvertedBlocks(FileBlocks):
    """The blocks of a file that is converted as it is read."""

    def __init__(self, reactor: Any, path: str, steps: Plan) -> None:
        super().__init__(reactor, path)
        self._pieces = converted(steps, self._pread)

    def _pread(self, start: int, end: int) -> bytes:
        return os.pread(self._descriptor, end - start, start)

    async def read(self) -> bytes:
        """Return the next block; empty at the end."""
        return bytes(await self._in_thread(self._next))

    def _next(self) -> bytes:
        block = bytearray()
        for piece in self._pieces:
            block += piece
            if len(block) >= BLOCK:
                break
        return bytes(block)
