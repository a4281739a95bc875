"""A connection: replies in order whatever takes its time, reading paused where it must be, no mail half kept."""

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from multid.mail.envelope import Envelope
from multid.mail.inbound import MOST_REFUSALS, SLOW_PIECE, Inbound, Reception, Taken
from multid.mail.interface import SpoolError
from multid.mail.reply import NO_ROOM, Reply
from multid.mail.sasl import Credentials
from tests.mail.conversation import SETTINGS, STRANGER, TRUSTED, lint

MAIL = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"


class SlowIncoming:
    """A mail whose pieces and commit are waited for as the test says."""

    def __init__(self, spool: "SlowSpool", id: str) -> None:  # noqa: A002
        self.id = id
        self.spool = spool
        self.pieces: list[bytes] = []
        self.envelope: Envelope | None = None
        self.committed: Deferred[None] = Deferred()
        self.aborted = 0
        self.behind: Deferred[None] | None = None

    def append(self, data: bytes) -> Deferred[None] | None:
        assert self.behind is None or self.behind.called
        self.pieces.append(data)
        self.behind = Deferred() if self.spool.is_behind else None
        return self.behind

    def commit(self, envelope: Envelope) -> Deferred[None]:
        self.envelope = envelope
        return succeed(None) if self.spool.is_quick else self.committed

    def abort(self) -> None:
        self.aborted += 1


class SlowSpool:
    def __init__(self) -> None:
        self.mails: list[SlowIncoming] = []
        self.is_behind = False
        self.is_quick = False
        self.error: SpoolError | None = None

    def begin(self, size: int) -> SlowIncoming:
        if self.error:
            raise self.error
        self.mails.append(SlowIncoming(self, f"ID{len(self.mails)}"))
        return self.mails[-1]


class Users:
    """Judges as the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[Credentials, str]] = []
        self.reply: Deferred[Reply] = Deferred()

    def verify(self, credentials: Credentials, host: str) -> Deferred[Reply]:
        self.asked.append((credentials, host))
        return self.reply


class Client:
    """A connection of the relay on a transport in memory."""

    def __init__(self, peer: Any = TRUSTED, **settings: Any) -> None:
        self.clock = Clock()
        self.spool = SlowSpool()
        self.users = Users()
        self.tls = object()
        self.taken = Taken()
        reception = Reception(
            replace(SETTINGS, **settings),
            self.spool,
            self.taken,
            self.clock.seconds,
            self.tls,
            self.users,  # type: ignore[arg-type]
        )
        self.protocol = Inbound(reception, peer)
        self.transport = Transport()
        self.transport.protocol = self.protocol

    def connect(self) -> "Client":
        self.protocol.makeConnection(self.transport)
        return self

    def send(self, data: bytes) -> bytes:
        """Give octets; return what is replied at once."""
        self.transport.clear()
        self.protocol.dataReceived(data)
        return self.transport.value()

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def mail(self) -> SlowIncoming:
        return self.spool.mails[-1]

    @property
    def is_closed(self) -> bool:
        return bool(self.transport.disconnecting) or not self.transport.connected


class Transport(StringTransportWithDisconnection):
    """Notes TLS, and does not call connectionLost within loseConnection, as real ones do not."""

    tls: Any = None
    aborted = False
    disconnecting = False

    def startTLS(self, context: Any) -> None:
        self.tls = context

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborted = True


@pytest.fixture
def client() -> Client:
    client = Client().connect()
    client.send(b"EHLO client\r\n")
    return client


def test_a_client_is_greeted() -> None:
    assert Client().connect().transport.value() == b"220 mail.example.org ESMTP\r\n"


def test_a_mail_is_acknowledged_when_it_is_committed(client: Client, logged: list[dict[str, Any]]) -> None:
    replies = client.send(MAIL)
    assert replies.endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    client.transport.clear()
    client.mail.committed.callback(None)
    assert client.transport.value() == b"250 2.0.0 Ok: queued as ID0\r\n"
    assert client.mail.envelope
    assert b"".join(client.mail.pieces).endswith(b"Subject: x\r\n\r\n")
    assert client.taken.mails == 1
    assert logged[-1]["id"] == "ID0"


def test_what_comes_while_a_commit_is_waited_for_is_answered_behind_it(client: Client) -> None:
    client.send(MAIL)
    assert client.send(MAIL + b"NOOP\r\n") == b""
    assert client.send(b"QUIT\r\n") == b""
    assert client.transport.producerState == "paused"
    client.mail.committed.callback(None)
    assert client.transport.value().endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    assert client.transport.producerState == "paused"
    client.transport.clear()
    client.mail.committed.callback(None)
    assert client.transport.value() == b"250 2.0.0 Ok: queued as ID1\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"
    assert client.is_closed


def test_a_client_that_waits_is_never_paused(client: Client) -> None:
    client.send(MAIL)
    assert client.transport.producerState == "producing"
    client.mail.committed.callback(None)
    assert client.transport.producerState == "producing"


def test_a_spool_that_is_behind_pauses_the_client(client: Client) -> None:
    client.spool.is_behind = True
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n")
    assert client.send(b"more\r\n") == b""
    assert client.transport.producerState == "paused"
    assert client.mail.behind
    client.spool.is_behind = False
    client.mail.behind.callback(None)
    assert client.transport.producerState == "producing"
    assert client.mail.pieces[-1] == b"\r\nmore"
    client.send(b".\r\n")
    assert client.mail.envelope


def test_a_spool_that_is_behind_at_the_end_holds_up_nothing_but_the_reply(client: Client) -> None:
    client.spool.is_behind = True
    client.send(MAIL)
    client.mail.committed.callback(None)
    assert client.transport.value().endswith(b"queued as ID0\r\n")
    assert client.send(b"NOOP\r\n") == b""
    assert client.mail.behind
    client.mail.behind.callback(None)
    assert client.transport.value() == b"250 2.0.0 Ok\r\n"


def test_many_mails_of_a_spool_that_answers_at_once(client: Client) -> None:
    client.spool.is_quick = True
    replies = client.send(MAIL * 1000)
    assert replies.count(b"queued as") == 1000
    assert client.taken.mails == 1000


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (SpoolError("full", NO_ROOM), b"452 4.3.1 "),
        (SpoolError("broken"), b"451 4.3.0 "),
        (RuntimeError("a mistake of ours"), b"451 4.3.0 Local error"),
    ],
)
def test_a_commit_that_fails_is_told_and_the_session_goes_on(
    client: Client, error: Exception, reply: bytes, logged: list[dict[str, Any]]
) -> None:
    client.send(MAIL)
    client.transport.clear()
    client.mail.committed.errback(Failure(error))
    assert client.transport.value().startswith(reply)
    assert b"mistake" not in client.transport.value()
    assert client.taken.mails == 0
    assert client.send(b"NOOP\r\n").startswith(b"250")
    assert logged[-1]["log_level"].name in {"error", "critical"}


def test_a_spool_that_takes_nothing_is_told_at_mail(client: Client) -> None:
    client.spool.error = SpoolError("full", NO_ROOM)
    assert client.send(b"MAIL FROM:<a@b>\r\n").startswith(b"452 4.3.1")
    client.spool.error = None
    assert client.send(b"MAIL FROM:<a@b>\r\n").startswith(b"250")


def test_a_mail_that_is_given_up_is_forgotten(client: Client) -> None:
    client.send(b"MAIL FROM:<a@b>\r\nRSET\r\n")
    assert client.mail.aborted == 1
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\r\n\r\n\0\r\n.\r\n")
    assert client.mail.aborted == 1
    assert client.mail.envelope is None


def test_a_mail_that_was_coming_in_is_forgotten_with_its_client(client: Client) -> None:
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\r\n\r\n")
    client.lose()
    assert client.mail.aborted == 1


def test_a_mail_whose_commit_has_begun_is_kept_without_its_client(client: Client) -> None:
    client.send(MAIL)
    client.lose()
    client.transport.clear()
    client.mail.committed.callback(None)
    assert client.mail.aborted == 0
    assert client.taken.mails == 1
    assert client.transport.value() == b""


def test_what_a_client_sent_before_it_went_is_not_read_later(client: Client) -> None:
    client.send(MAIL + MAIL)
    client.send(MAIL)
    client.lose()
    client.mail.committed.callback(None)
    assert len(client.spool.mails) == 1
    assert client.taken.mails == 1


def test_a_spool_that_catches_up_when_its_client_has_gone_is_of_no_interest(client: Client) -> None:
    client.spool.is_behind = True
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n")
    client.send(b".\r\n")
    client.lose()
    assert client.mail.behind
    client.mail.behind.callback(None)
    assert client.mail.envelope is None


def test_a_client_that_half_closes_gets_its_answers(client: Client) -> None:
    client.send(MAIL + b"NOOP\r\n")
    client.protocol.readConnectionLost()
    assert not client.is_closed
    client.mail.committed.callback(None)
    assert client.transport.value().endswith(b"queued as ID0\r\n250 2.0.0 Ok\r\n")
    assert client.is_closed
    client.protocol.writeConnectionLost()


def test_a_client_that_half_closes_while_nothing_is_open_is_done(client: Client) -> None:
    client.protocol.readConnectionLost()
    assert client.is_closed


def test_a_silent_client_is_sent_away(client: Client) -> None:
    client.transport.clear()
    client.protocol.idle()
    assert client.transport.value() == b"421 4.4.2 Timeout, closing\r\n"
    assert client.is_closed


def test_a_client_that_waits_for_us_is_not_sent_away(client: Client) -> None:
    client.send(MAIL)
    client.transport.clear()
    client.protocol.idle()
    assert client.transport.value() == b""
    client.mail.committed.callback(None)
    assert client.transport.value().startswith(b"250 2.0.0 Ok: queued as ID0\r\n421 4.4.2")


@pytest.mark.parametrize(("seconds", "is_closed"), [(300.0, False), (300.1, True)])
def test_a_command_line_takes_at_most_so_long(client: Client, seconds: float, is_closed: bool) -> None:
    client.send(b"NO")
    client.clock.advance(seconds)
    assert client.send(b"O").startswith(b"421 4.4.2") == is_closed
    assert client.is_closed == is_closed


def test_a_mail_that_drips_is_given_up(client: Client) -> None:
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    client.clock.advance(299)
    client.send(b"x" * (SLOW_PIECE - 1))
    client.clock.advance(2)
    assert client.send(b"x").startswith(b"421 4.4.2")
    assert client.mail.aborted == 1


def test_a_mail_that_is_fast_enough_takes_as_long_as_it_takes(client: Client) -> None:
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    for _ in range(10):
        client.clock.advance(299)
        assert client.send(b"x" * SLOW_PIECE) == b""
    assert client.send(b"\r\n.\r\n") == b""
    assert client.mail.envelope


def test_a_drained_connection_finishes_its_mail(client: Client) -> None:
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\r\n")
    client.protocol.drain()
    assert not client.is_closed
    client.send(b"\r\n.\r\n")
    client.mail.committed.callback(None)
    assert client.transport.value().endswith(b"421 4.3.2 Service shutting down, try again later\r\n")
    assert client.is_closed


def test_a_drained_connection_that_does_nothing_is_closed(client: Client) -> None:
    client.transport.clear()
    client.protocol.drain()
    assert client.transport.value().startswith(b"421 4.3.2")
    assert client.is_closed


def test_starttls_is_started_with_the_context_of_the_relay() -> None:
    client = Client(starttls="optional").connect()
    assert client.send(b"EHLO client\r\nSTARTTLS\r\n").endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert client.transport.tls is client.tls
    assert client.send(b"MAIL FROM:<a@b>\r\n").startswith(b"503")


def test_the_version_of_tls_is_known_after_the_handshake() -> None:
    class Layer:
        def getHandle(self) -> Any:
            return self

        def get_protocol_version_name(self) -> str:
            return "TLSv1.3"

    client = Client()
    directlyProvides(client.transport, ISSLTransport)
    client.connect()
    assert IHandshakeListener.providedBy(client.protocol)
    client.transport.protocol = Layer()  # type: ignore[assignment]
    client.protocol.handshakeCompleted()
    client.send(b"EHLO client\r\n" + MAIL)
    assert client.mail.envelope
    assert client.mail.envelope.tls == "TLSv1.3"
    assert b"with ESMTPS id" in b"".join(client.mail.pieces)


def test_the_verdict_on_a_password_is_waited_for() -> None:
    client = Client(STRANGER, auth="plain").connect()
    client.send(b"EHLO client\r\n")
    assert client.send(b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\nNOOP\r\n") == b""
    assert client.users.asked == [(Credentials("user", b"secret"), "192.0.2.1")]
    client.users.reply.callback(Reply(235, "2.7.0", "Ok"))
    assert client.transport.value() == b"235 2.7.0 Ok\r\n250 2.0.0 Ok\r\n"


def test_a_mistake_of_ours_ends_the_connection_and_is_logged(client: Client, logged: list[dict[str, Any]]) -> None:
    client.send(MAIL)

    def broken(_answer: Any) -> Any:
        raise RuntimeError("a mistake")

    client.protocol._session.answer = broken  # type: ignore[method-assign]
    client.mail.committed.callback(None)
    assert client.transport.aborted
    assert logged[-1]["log_level"].name == "critical"


def test_refusals_are_counted_and_the_first_are_logged(logged: list[dict[str, Any]]) -> None:
    client = Client(max_recipients=1).connect()
    client.send(b"EHLO client\r\nMAIL FROM:<a@b>\r\n" + b"".join(b"RCPT TO:<c%d@d>\r\n" % n for n in range(101)))
    assert client.taken.refused == 100
    told = [event for event in logged if event.get("what", "").startswith("RCPT")]
    assert len(told) == MOST_REFUSALS
    assert told[0]["reply"] == "452 4.5.3 Too many recipients"


def test_every_reply_is_as_the_rfcs_have_it(client: Client) -> None:
    client.spool.is_quick = True
    lint(client.send(MAIL + b"VRFY x\r\nHELP\r\nX\r\nRCPT TO:<a@b>\r\nSTARTTLS\r\nQUIT\r\n"))
