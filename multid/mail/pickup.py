"""Takes the mails that were left in the drop directory, as if their owners had come by the UNIX socket.

Each goes through a session in memory, so that it is completed, rewritten, limited and stored like any other, and its
file is removed once the spool has it: a crash between the two takes it twice rather than not at all. What is refused
for now is tried again, from the recipients that have not been taken. What is refused for good, or is no mail, stays
beside the others as `NAME.refused`, and is said; the sender of a mail gets a report, which is left here as mail is.
Anybody may put anything into the directory: nothing there keeps a mail waiting, or makes a mail of what is another's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from multid.mail.drop import Dropped, leave, make_drop_directory, open_content, read_envelope
from multid.mail.dsn import MAX_RETURNED, Notice, build_report
from multid.mail.envelope import Envelope, QueueIds, Recipient
from multid.mail.inbound import Inbound, Reception
from multid.mail.queued import Delivery, DeliveryState
from multid.mail.reply import Reply, ReplyParser
from multid.mail.settings import InboundSettings, Peer
from multid.mail.transfer import DotStuffer, FileBlocks

INTERVAL = 1.0
"""Seconds between looks into the directory."""

_ABANDONED = 86400.0
"""Age in seconds of a file that somebody began and never named."""

_REFUSED = ".refused"


class Wire:
    """The transport of a session in memory: its replies, and whether it wants to be fed."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.is_paused = False
        self.is_closed = False
        self.protocol: Any = None
        self._parser = ReplyParser()
        self._changed: Deferred[None] | None = None

    def write(self, data: bytes) -> None:
        """ITransport API."""
        self.replies.extend(self._parser.feed(data))
        self._wake()

    def loseConnection(self) -> None:
        """ITransport API."""
        self.is_closed = True
        self._wake()

    def pauseProducing(self) -> None:
        """IPushProducer API."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """IPushProducer API."""
        self.is_paused = False
        self._wake()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """ITransport API: what is written is taken at once."""

    def unregisterProducer(self) -> None:
        """ITransport API."""

    async def reply(self) -> Reply:
        """Return the next reply."""
        while not self.replies:
            if self.is_closed:
                return Reply(421, "4.3.2", "the session was closed")
            self._changed = Deferred()
            await self._changed
        return self.replies.popleft()

    async def ready(self) -> None:
        """Return when the session wants more."""
        while self.is_paused and not self.is_closed and not self.replies:
            self._changed = Deferred()
            await self._changed

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.callback(None)


class _Content(FileBlocks):
    """The blocks of a mail, its envelope among them."""

    def __init__(self, reactor: Any, dropped: Dropped) -> None:
        super().__init__(reactor, str(dropped.path))
        self._dropped = dropped

    def _open(self) -> int:
        return open_content(self._dropped)


class Pickup:
    """Looks into a drop directory for as long as it runs."""

    log = Logger()

    def __init__(self, reactor: Any, directory: Path, reception: Callable[[], Reception]) -> None:
        self.directory = directory
        self.taken = 0
        self._reactor = reactor
        self._reception = reception
        self._call: Any = None
        self._is_running = False
        self._looking: Deferred[None] | None = None
        self._problem = ""
        self._passed_over: set[Path] = set()  # what can be neither taken nor put aside
        self._handed_over: dict[Path, int] = {}  # of mails that were taken in part: how many recipients

    def start(self) -> None:
        """Begin; where the directory cannot be made, that is said and nothing is picked up."""
        try:
            make_drop_directory(self.directory)
        except OSError as error:
            self.log.error("no mail is picked up: {why}", why=str(error))
            return
        self._is_running = True
        self._call = self._reactor.callLater(0, self._look)

    async def stop(self) -> None:
        """Finish the mail that is being taken."""
        self._is_running = False
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._looking is not None:
            await self._looking

    def _look(self) -> None:
        self._looking = Deferred.fromCoroutine(self._take_all())
        self._looking.addErrback(lambda failure: self.log.failure("mail could not be picked up", failure))
        self._looking.addCallback(self._again)

    def _again(self, _: object) -> None:
        self._looking = None
        if self._is_running:
            self._call = self._reactor.callLater(INTERVAL, self._look)

    async def _take_all(self) -> None:
        try:
            paths = await self._in_thread(self._names)
        except OSError as error:
            if str(error) != self._problem:  # said once, not at every look
                self._problem = str(error)
                self.log.error("no mail is picked up: {why}", why=self._problem)
            return
        self._problem = ""
        self._handed_over = {path: count for path, count in self._handed_over.items() if path in paths}
        for path in paths:
            if not self._is_running:
                return
            try:
                await self._take(await self._in_thread(read_envelope, path))
            except (ValueError, OSError) as error:
                await self._refuse(path, str(error))

    def _names(self) -> list[Path]:
        found = []
        for path in self.directory.iterdir():
            if path.name.startswith("."):
                with suppress(OSError):  # it has got its name, or is no file
                    self._remove_if_abandoned(path)
            elif path.suffix != _REFUSED and path not in self._passed_over:
                found.append(path)
        return sorted(found)

    @staticmethod
    def _remove_if_abandoned(path: Path) -> None:
        if time() - path.lstat().st_mtime > _ABANDONED:
            path.unlink()

    async def _take(self, dropped: Dropped) -> None:
        recipients = list(dropped.recipients)
        most = self._reception().settings.max_recipients
        for start in range(self._handed_over.pop(dropped.path, 0), len(recipients), most):
            reply = await self._submit(replace(dropped, recipients=tuple(recipients[start : start + most])))
            if reply.is_permanent:
                await self._return(replace(dropped, recipients=tuple(recipients[start:])), reply)
                return
            if not reply.is_positive:
                self._handed_over[dropped.path] = start
                self.log.warn("{file}: not taken yet: {reply}", file=dropped.path.name, reply=str(reply))
                return
        await self._in_thread(dropped.path.unlink)
        self.taken += 1

    async def _return(self, dropped: Dropped, reply: Reply) -> None:
        """Tell the sender of a mail that is refused, now or at a later look; nobody is told of a report."""
        try:
            if dropped.sender:
                await self._in_thread(_leave_report, self.directory, dropped, reply, self._reception().settings)
        except OSError as error:
            self.log.warn("{file}: refused, its sender not told yet: {why}", file=dropped.path.name, why=str(error))
            return
        await self._refuse(dropped.path, str(reply))

    async def _submit(self, dropped: Dropped) -> Reply:
        """Hold a session; return the first reply that is not positive, or the last."""
        reception = self._reception()
        settings = replace(reception.settings, starttls="off", auth="off")
        wire = Wire()
        session = Inbound(replace(reception, settings=settings), Peer(is_trusted=True))
        session.makeConnection(wire)
        utf8 = " SMTPUTF8" if not "".join((dropped.sender, *dropped.recipients)).isascii() else ""
        commands = [f"EHLO uid-{dropped.uid}", f"MAIL FROM:<{dropped.sender}> BODY=8BITMIME{utf8}"]
        commands += [f"RCPT TO:<{recipient}>" for recipient in dropped.recipients]
        try:
            return await self._converse(dropped, commands, session, wire)
        finally:
            session.connectionLost()

    async def _converse(self, dropped: Dropped, commands: list[str], session: Inbound, wire: Wire) -> Reply:
        reply = await wire.reply()
        for command in [*commands, "DATA"]:
            if not reply.is_positive:
                return reply
            session.dataReceived(f"{command}\r\n".encode())
            reply = await wire.reply()
        return await self._send(dropped, session, wire) if reply.code == 354 else reply

    async def _send(self, dropped: Dropped, session: Inbound, wire: Wire) -> Reply:
        stuffer = DotStuffer()
        skip = dropped.offset
        async with _Content(self._reactor, dropped) as blocks:
            while (block := await blocks.read()) and not wire.is_closed:
                piece, skip = block[skip:], max(0, skip - len(block))
                session.dataReceived(stuffer.feed(piece))
                await wire.ready()
        session.dataReceived(stuffer.end())
        return await wire.reply()

    async def _refuse(self, path: Path, why: str) -> None:
        try:
            await self._in_thread(path.rename, path.with_name(path.name + _REFUSED))
        except OSError:  # its name is too long, or a folder has the new one
            self._passed_over.add(path)
        self.log.error("{file}: refused, and kept as it is: {why}", file=path.name, why=why)

    def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *arguments)


def _leave_report(directory: Path, dropped: Dropped, reply: Reply, settings: InboundSettings) -> None:
    with open(open_content(dropped), "rb") as file:
        file.seek(dropped.offset)
        content = file.read(MAX_RETURNED)
        is_whole = not file.read(1)
    id_, now = QueueIds()(), time()
    recipients = tuple(Recipient(address) for address in dropped.recipients)
    failed = Delivery(DeliveryState.FAILED, attempts=1, reply=reply)
    notice = Notice(
        "failed",
        Envelope(id_, dropped.sender, recipients, len(content), now, origin="sendmail"),
        [(recipient, failed) for recipient in recipients],
        dropped.sender,
        content,
        is_whole,
        retried_until=now,
    )
    report = build_report(notice, id_=id_, hostname=settings.hostname, domain=settings.domain, now=now)
    leave(directory, "", [dropped.sender], report)
