"""What an SMTP session asks of the connection that carries it, in order; see `multid.mail.session`. Pure.

After `Begin`, `Authenticate`, `StartTls` and `Commit` the session waits for `answer` and reads nothing.
"""

from dataclasses import dataclass

from multid.mail.envelope import Envelope
from multid.mail.reply import Reply
from multid.mail.sasl import Credentials


@dataclass(frozen=True, slots=True)
class Send:
    """Write these octets."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """Open a mail of `size` octets, 0 if none were announced; answered by its queue id, or a Reply that refuses it."""

    size: int


@dataclass(frozen=True, slots=True)
class Append:
    """Store the next piece of the mail."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget the mail that was begun."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Make the mail durable; answered by the Reply to the end of data."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Verify a password; answered by the Reply to AUTH."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class StartTls:
    """Start TLS now; answered by nothing, `answer(None)`, before its first octets come."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something was refused with this reply, for the log; `what` is printable and never holds a password."""

    what: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection when all is written; `reason` is for the log."""

    reason: str


Event = Send | Begin | Append | Discard | Commit | Authenticate | StartTls | Refused | Close
