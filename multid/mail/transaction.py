"""One mail on its way in, from MAIL to the end of its data: recipients, content, and the envelope it ends as. Pure."""

from dataclasses import dataclass

from multid.mail.commands import Mail
from multid.mail.complete import complete
from multid.mail.content import Content, DotReader
from multid.mail.envelope import Envelope, Recipient
from multid.mail.headers import count_received, received
from multid.mail.reply import Reply
from multid.mail.settings import InboundSettings, Peer

LOOP = Reply(554, "5.4.6", "Too many hops")


@dataclass(frozen=True, slots=True)
class Client:
    """What a session knows of its client when a mail begins."""

    peer: Peer
    helo: str
    is_esmtp: bool
    tls: str
    user: str

    def protocol(self, *, smtputf8: bool) -> str:
        """Return the keyword behind `with` (RFC 3848, RFC 6531 4.3)."""
        if not self.is_esmtp:
            return "SMTP"
        name = "UTF8SMTP" if smtputf8 else "ESMTP"
        return name + ("S" if self.tls else "") + ("A" if self.user else "")


class Transaction:
    """A mail that has a sender and a queue id; `open` comes before its content, `envelope` after."""

    def __init__(self, settings: InboundSettings, mail: Mail, client: Client, id: str, at: float) -> None:  # noqa: A002
        self.mail = mail
        self.id = id
        self.recipients: dict[str, Recipient] = {}
        self.is_chunked = False
        self.was_refused = False
        self.dots = DotReader()
        self._settings = settings
        self._client = client
        self._at = at
        self._stored = 0
        self._is_international = False
        self._content = Content(
            settings.max_size,
            self._header,
            reject_bare=settings.bare_newline == "reject",
            is_binary=mail.body == "BINARYMIME",
        )

    @property
    def verdict(self) -> Reply | None:
        """Why the mail will be refused, once that is certain."""
        return self._content.verdict

    @property
    def is_far_too_big(self) -> bool:
        """Whether more has come than is worth throwing away."""
        return self._content.size > self._settings.most_data

    def feed(self, data: bytes) -> bytes:
        """Take a piece of content, return what is to be stored."""
        return self._counted(self._content.feed(data))

    def finish(self) -> bytes:
        """Return the last piece to be stored."""
        return self._counted(self._content.finish())

    def envelope(self) -> Envelope:
        """Return the envelope of the finished mail."""
        mail, client = self.mail, self._client
        sender, recipients = self._rewritten()
        is_international = not all(map(str.isascii, [sender, *recipients]))
        return Envelope(
            id=self.id,
            sender=sender,
            recipients=tuple(recipients.values()),
            size=self._stored,
            received_at=self._at,
            body="BINARYMIME" if mail.body == "BINARYMIME" else "7BIT" if self._content.is_ascii else "8BITMIME",
            smtputf8=is_international or (mail.smtputf8 and self._is_international),
            ret=mail.ret,
            envid=mail.envid,
            peer=str(client.peer),
            helo=client.helo,
            auth_user=client.user,
            tls=client.tls,
        )

    def _rewritten(self) -> tuple[str, dict[str, Recipient]]:
        rewriting = self._settings.rewriting
        if not rewriting.recipients:
            return rewriting.sender(self.mail.sender), self.recipients
        new: dict[str, Recipient] = {}
        for recipient in self.recipients.values():
            for other in rewriting.recipient(recipient):
                new.setdefault(other.address, other)
        return rewriting.sender(self.mail.sender), new

    def _counted(self, data: bytes) -> bytes:
        self._stored += len(data)
        return data

    def _header(self, fields: bytes) -> bytes | Reply:
        if count_received(fields) > self._settings.max_hops:
            return LOOP
        self._is_international = not fields.isascii()
        settings = self._settings
        fields = complete(
            fields, settings.completion, sender=self.mail.sender, domain=settings.domain, id=self.id, at=self._at
        )
        return self._received() + settings.rewriting.header(fields)

    def _received(self) -> bytes:
        client = self._client
        return received(
            helo=client.helo,
            literal=client.peer.literal,
            by=self._settings.hostname,
            protocol=client.protocol(smtputf8=self.mail.smtputf8),
            id=self.id,
            recipient=next(iter(self.recipients)) if len(self.recipients) == 1 else "",
            at=self._at,
        )
