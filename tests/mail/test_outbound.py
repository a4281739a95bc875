"""The SMTP client against a next hop on loopback that does as it is told."""

import email
import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from multid.mail import fitting
from multid.mail.envelope import Envelope, Recipient
from multid.mail.outbound import Connection, HopError, connect
from multid.mail.queued import Content, QueuedMail, new_mail
from multid.mail.reply import Reply
from multid.mail.route import Login
from tests.loop import Loop
from tests.mail.hop import CLOSE, EXTENSIONS, SILENCE, Server

BODY = b"Subject: x\r\n\r\n.\r\n..two\r\nend\r\n"


def mail(content: Content | bytes = BODY, *recipients: str | Recipient, **fields: Any) -> QueuedMail:
    if isinstance(content, bytes):
        content = Content(len(content), content)
    names = recipients or ("b@example.com",)
    all_of = tuple(Recipient(name) if isinstance(name, str) else name for name in names)
    values = {"sender": "a@example.org", "received_at": 0.0, "size": content.size} | fields
    return new_mail(Envelope("0" * 12, recipients=all_of, **values), content)


class Client:
    """A connection to a server of the test."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.servers: list[Server] = []
        self.connections: list[Connection] = []

    def server(self, **keys: Any) -> Server:
        server = Server(self.loop, **keys)
        self.servers.append(server)
        return server

    def connect(self, server: Server, login: Login | None = None, **hop: Any) -> Connection:
        connection = self.loop.result(connect(self.loop, server.hop(**hop), "me.test", login))
        self.connections.append(connection)
        return connection

    def refused(self, server: Server, login: Login | None = None, **hop: Any) -> Reply:
        """Connect in vain; return why, having seen that the connection is closed."""
        with pytest.raises(HopError) as error:
            self.connect(server, login, **hop)
        self.loop.until(lambda: not any(c.transport.connected for c in server.connections))
        return error.value.reply

    def deliver(self, connection: Connection, mail: QueuedMail) -> list[Reply]:
        places = range(len(mail.envelope.recipients))
        replies = self.loop.result(connection.deliver(mail, places))
        return [replies[place] for place in places]

    def send(self, server: Server, mail: QueuedMail) -> list[Reply]:
        return self.deliver(self.connect(server), mail)

    def after(self, seconds: float, awaitable: Any, is_stuck: Callable[[], bool]) -> Any:
        """Let time pass once the peer has been given all it takes, and return the result."""
        results: list[Any] = []
        Deferred.fromCoroutine(awaitable).addBoth(results.append)
        stuck = 0
        while stuck < 20:
            self.loop.turn()
            self.loop.doIteration(0.002)
            stuck = stuck + 1 if is_stuck() else 0
        assert not results
        self.loop.advance(seconds - 0.5)
        assert not results, "too early"
        self.loop.advance(1.0)
        self.loop.until(lambda: results)
        return results[0]

    def close(self) -> None:
        for connection in self.connections:
            connection.abort()
        for server in self.servers:
            self.loop.result(server.port.stopListening())
            for peer in server.connections:
                peer.transport.abortConnection()
        self.loop.turn()


@pytest.fixture
def client(loop: Loop):
    client = Client(loop)
    yield client
    client.close()


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["esmtp", "bare"])
def test_a_mail_arrives_octet_for_octet(client: Client, extensions: tuple[str, ...]):
    server = client.server(extensions=extensions)
    assert client.send(server, mail()) == [Reply(250, "2.0.0", "Ok")]
    assert [m.content for m in server.mails] == [BODY]
    assert server.mails[0].commands[0].startswith("MAIL FROM:<a@example.org>")
    assert server.mails[0].recipients == ["b@example.com"]


def test_a_large_mail_is_read_from_its_file(client: Client, tmp_path):
    content = b"x" * 70 + b"\r\n.\r\n" * 100_000 + b"end without a line end"
    (tmp_path / "content").write_bytes(content)
    server = client.server(extensions=())
    assert client.send(server, mail(Content(len(content), path=str(tmp_path / "content"))))[0].code == 250
    assert server.mails[0].content == content + b"\r\n"


def test_with_pipelining_a_whole_mail_takes_two_steps(client: Client):
    server = client.server()
    seen: list[int] = []
    server.answers["MAIL"] = lambda _: seen.append(len(server.connections[0].buffer)) or None
    client.send(server, mail(BODY, "b@example.com", "c@example.com"))
    assert seen == [len("RCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n")]


def test_without_pipelining_nothing_goes_ahead(client: Client):
    server = client.server(extensions=())
    seen: list[int] = []
    server.answers["MAIL"] = lambda _: seen.append(len(server.connections[0].buffer)) or None
    client.send(server, mail(BODY, "b@example.com"))
    assert seen == [0]


def test_a_connection_carries_many_mails(client: Client):
    server = client.server()
    connection = client.connect(server)
    for _ in range(3):
        assert client.deliver(connection, mail())[0].code == 250
    assert (len(server.mails), server.total) == (3, 1)
    client.loop.result(connection.quit())
    assert server.commands[-1] == "QUIT"


PARAMETERS = [
    (EXTENSIONS, {}, "MAIL FROM:<a@example.org> SIZE=29", "RCPT TO:<b@example.com>"),
    (("SIZE",), {"body": "7BIT"}, "MAIL FROM:<a@example.org> SIZE=29", "RCPT TO:<b@example.com>"),
    ((), {"ret": "FULL", "envid": "x"}, "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>"),
    (("8bitmime",), {"body": "8BITMIME"}, "MAIL FROM:<a@example.org> BODY=8BITMIME", "RCPT TO:<b@example.com>"),
    (("SMTPUTF8",), {"smtputf8": True}, "MAIL FROM:<a@example.org> SMTPUTF8", "RCPT TO:<b@example.com>"),
    (
        ("DSN",),
        {
            "ret": "HDRS",
            "envid": "a+b=c",
            "recipients": (Recipient("b@example.com", frozenset({"FAILURE", "DELAY"}), "rfc822;b+c@example.com"),),
        },
        "MAIL FROM:<a@example.org> RET=HDRS ENVID=a+2Bb+3Dc",
        "RCPT TO:<b@example.com> NOTIFY=DELAY,FAILURE ORCPT=rfc822;b+2Bc@example.com",
    ),
]


@pytest.mark.parametrize(("extensions", "fields", "expected_mail", "expected_rcpt"), PARAMETERS)
def test_parameters_are_given_where_they_are_offered(client: Client, extensions, fields, expected_mail, expected_rcpt):
    server = client.server(extensions=extensions)
    recipients = fields.pop("recipients", ("b@example.com",))
    assert client.send(server, mail(BODY, *recipients, **fields))[0].code == 250
    assert server.mails[0].commands == [expected_mail, expected_rcpt]


REFUSALS = [
    (("SIZE 28",), {}, "5.3.4"),
    (("PIPELINING",), {"smtputf8": True, "sender": "ä@example.org"}, "5.6.7"),
    (("PIPELINING",), {"smtputf8": True, "sender": "a@" + "ä" * 63}, "5.6.7"),
    (("PIPELINING",), {"smtputf8": True, "content": "Subject: ä\r\n\r\n".encode()}, "5.6.7"),
    (("PIPELINING",), {"body": "8BITMIME", "content": "Subject: ä\r\n\r\n".encode()}, "5.6.3"),
    (EXTENSIONS, {"content": b"Subject: " + b"x" * 999}, "5.6.3"),
]


@pytest.mark.parametrize(("extensions", "fields", "enhanced"), REFUSALS)
def test_what_a_hop_cannot_take_is_refused_without_asking_it(client: Client, extensions, fields, enhanced):
    server = client.server(extensions=extensions)
    reply = client.send(server, mail(**fields))[0]
    assert (reply.is_permanent, reply.enhanced) == (True, enhanced)
    assert server.commands == ["EHLO me.test"]


def test_a_domain_goes_as_a_labels_where_the_hop_has_no_smtputf8(client: Client):
    server = client.server(extensions=())
    replies = client.send(server, mail(BODY, "b@bücher.example", "ü@bücher.example", sender="a@ä.test", smtputf8=True))
    assert [(reply.code, reply.enhanced) for reply in replies] == [(250, "2.0.0"), (550, "5.6.7")]
    assert server.mails[0].commands == ["MAIL FROM:<a@xn--4ca.test>", "RCPT TO:<b@xn--bcher-kva.example>"]


def test_a_mail_nobody_can_be_sent_is_not_begun(client: Client):
    server = client.server(extensions=())
    assert client.send(server, mail(BODY, "ü@example.com"))[0].enhanced == "5.6.7"
    assert server.commands == ["EHLO me.test"]


HEADER = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
CAFE = HEADER + b"Content-Transfer-Encoding: 8bit\r\n\r\n.Ein caf\xe9 in der Stadt\r\n.\r\n"
LONG = HEADER + b"\r\n" + b"x" * 999 + b"\r\n"
BINARY = HEADER + b"Content-Transfer-Encoding: binary\r\n\r\n\0\n\r\xff"

FORMS = [
    pytest.param(((), CAFE, "8BITMIME", b"quoted-printable"), id="8-bit text"),
    pytest.param((("8BITMIME",), CAFE, "8BITMIME", b"8bit"), id="8-bit text to who takes it"),
    pytest.param((("8BITMIME",), CAFE, "BINARYMIME", b"8bit"), id="binary that is none"),
    pytest.param((("8BITMIME",), LONG, "7BIT", b"quoted-printable"), id="long line"),
    pytest.param((("8BITMIME",), BINARY, "BINARYMIME", b"base64"), id="binary"),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_mail_arrives_in_a_form_that_the_hop_takes(client: Client, tmp_path, form):
    extensions, content, body, encoding = form
    (tmp_path / "content").write_bytes(content)
    for stored in (Content(len(content), content), Content(len(content), path=str(tmp_path / "content"))):
        server = client.server(extensions=extensions)
        assert client.send(server, mail(stored, body=body))[0].code == 250
        arrived = server.mails[0].content
        assert b"Content-Transfer-Encoding: " + encoding in arrived
        parts = [email.message_from_bytes(octets).get_payload(decode=True) for octets in (arrived, content)]
        assert parts[0].removesuffix(b"\r\n") == parts[1].removesuffix(b"\r\n")
        assert ("BODY=8BITMIME" in server.mails[0].commands[0]) == (body != "7BIT" and "8BITMIME" in extensions)


def test_a_large_mail_is_converted_as_it_is_sent(client: Client, tmp_path):
    content = CAFE * 20_000
    (tmp_path / "content").write_bytes(content)
    server = client.server(extensions=())
    mail_ = mail(Content(len(content), path=str(tmp_path / "content")), body="8BITMIME")
    assert client.send(server, mail_)[0].code == 250
    arrived = email.message_from_bytes(server.mails[0].content)
    assert arrived.get_payload(decode=True) == content.partition(b"\r\n\r\n")[2]


def test_a_mail_too_large_to_be_converted_is_refused(client: Client, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "MOST", len(CAFE) - 1)
    (tmp_path / "content").write_bytes(CAFE)
    server = client.server(extensions=())
    stored = Content(len(CAFE), path=str(tmp_path / "content"))
    reply = client.send(server, mail(stored, body="8BITMIME"))[0]
    assert (reply.code, reply.enhanced) == (554, "5.6.3")
    monkeypatch.setattr(fitting, "MOST", len(CAFE))
    assert client.send(server, mail(stored, body="8BITMIME"))[0].code == 250


@pytest.mark.parametrize("size", ["SIZE 29", "SIZE 0", "SIZE", "SIZE x"])
def test_a_size_that_fits_or_says_nothing_stops_no_mail(client: Client, size: str):
    assert client.send(client.server(extensions=(size,)), mail())[0].code == 250


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "one by one"])
def test_each_recipient_has_its_own_reply(client: Client, extensions):
    server = client.server(extensions=extensions)
    server.answers |= {
        "RCPT TO:<B@": b"550 5.1.1 No\r\n",
        "RCPT TO:<C@": b"450 4.2.1 Busy\r\n",
        "RCPT TO:<D@": b"552 Many\r\n",
    }
    replies = client.send(server, mail(BODY, "a@x.test", "b@x.test", "c@x.test", "d@x.test"))
    assert [reply.code for reply in replies] == [250, 550, 450, 452]
    assert server.mails[0].recipients == ["a@x.test"]


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "one by one"])
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("code", [450, 550])
def test_a_refusal_is_the_reply_of_all_and_the_connection_stays(client: Client, extensions, command, code):
    server = client.server(extensions=extensions)
    server.answers[command] = b"%d No\r\n" % code
    connection = client.connect(server)
    assert [r.code for r in client.deliver(connection, mail(BODY, "b@x.test", "c@x.test"))] == [code, code]
    server.answers.clear()
    assert client.deliver(connection, mail(BODY, "d@x.test"))[0].code == 250
    assert [m.recipients for m in server.mails] == [["d@x.test"]]
    assert server.total == 1


def test_data_without_recipients_is_ended_at_once(client: Client):
    server = client.server()
    server.answers |= {"RCPT": b"550 No\r\n", "DATA": b"354 Go on\r\n", "END": b"554 5.5.1 No recipients\r\n"}
    connection = client.connect(server)
    assert client.deliver(connection, mail())[0].code == 550
    assert server.mails == []
    assert connection.is_usable


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "one by one"])
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "CONTENT", "END"])
@pytest.mark.parametrize(
    "answer", [CLOSE, b"421 4.3.2 Bye\r\n", b"99 what\r\n", b"nonsense\r\n", b"250-" + b"x" * 3000]
)
def test_a_connection_that_breaks_defers_every_recipient(client: Client, extensions, command, answer):
    server = client.server(extensions=extensions, answers={command: answer})
    connection = client.connect(server)
    replies = client.deliver(connection, mail(BODY, "b@x.test", "c@x.test"))
    assert all(reply.is_transient for reply in replies)
    client.loop.until(lambda: not connection.is_usable)


@pytest.mark.parametrize("command", ["EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_endless_continuation_lines_are_cut_off(client: Client, command):
    server = client.server(extensions=(), answers={command: b"250-more\r\n" * 5000})
    if command == "EHLO":
        assert client.refused(server).is_transient
    else:
        assert client.send(server, mail())[0].is_transient


WRONG = [("MAIL", b"354 Go\r\n"), ("RCPT", b"334 Go\r\n"), ("DATA", b"250 Ok\r\n"), ("END", b"354 Go\r\n")]


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "one by one"])
@pytest.mark.parametrize(("command", "answer"), WRONG)
def test_a_yes_to_another_question_is_no_yes(client: Client, extensions, command, answer):
    server = client.server(extensions=extensions, answers={command: answer})
    connection = client.connect(server)
    assert client.deliver(connection, mail())[0].is_transient
    assert not connection.is_usable
    assert server.mails == [] or command == "END"


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["ahead", "one by one"])
@pytest.mark.parametrize(("answer", "code"), [(b"250 Ok\r\n", 451), (b"452 Full\r\n", 452), (b"554 Spam\r\n", 554)])
def test_an_answer_before_the_content_is_no_yes(client: Client, extensions, answer, code):
    """A server that refuses a mail unread means it, whether its reply is seen before the content goes or after."""
    server = client.server(answers={"DATA": b"354 Go\r\n" + answer}, extensions=extensions)
    connection = client.connect(server)
    assert client.deliver(connection, mail())[0].code == code
    assert not connection.is_usable


@pytest.mark.parametrize(("answer", "code"), [(b"250 Ok\r\n", 451), (b"554 5.7.1 Spam\r\n", 554)])
def test_an_answer_in_the_middle_of_a_large_mail_ends_it(client: Client, tmp_path, answer, code):
    (tmp_path / "content").write_bytes(b"x\r\n" * 3_000_000)
    server = client.server(answers={"CONTENT": answer}, extensions=())
    content = Content(9_000_000, path=str(tmp_path / "content"))
    connection = client.connect(server)
    assert client.deliver(connection, mail(content))[0].code == code
    assert not connection.is_usable


PHASES = [
    ("GREETING", 300, ()),
    ("EHLO", 300, ()),
    ("MAIL", 300, ()),
    ("RCPT", 300, ()),
    ("DATA", 120, ()),
    ("END", 600, ()),
    ("DATA", 120, EXTENSIONS),
    ("END", 600, EXTENSIONS),
]


@pytest.mark.parametrize(("command", "seconds", "extensions"), PHASES)
def test_each_phase_has_its_time(client: Client, command, seconds, extensions):
    server = client.server(extensions=extensions)
    asked: list[str] = []
    server.answers[command] = lambda text: asked.append(text) or SILENCE
    if command in {"GREETING", "EHLO"}:
        failure = client.after(seconds, connect(client.loop, server.hop(), "me.test", None), lambda: bool(asked))
        assert failure.value.reply.is_transient
        return
    connection = client.connect(server)
    replies = client.after(seconds, connection.deliver(mail(), [0]), lambda: bool(asked))
    assert replies[0].is_transient
    assert "Timed out" in replies[0].text
    assert not connection.is_usable


def test_a_hop_that_never_reads_a_large_mail_is_given_up(client: Client, tmp_path):
    (tmp_path / "content").write_bytes(b"x" * 76 + b"\r\n" * 10_000_000)
    content = Content(20_000_076, path=str(tmp_path / "content"))
    server = client.server(extensions=())
    connection = client.connect(server)
    server.connections[0].transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    server.answers["DATA"] = lambda _: server.connections[0].transport.pauseProducing() or b"354 Go\r\n"
    replies = client.after(180, connection.deliver(mail(content), [0]), lambda: connection.is_paused)
    assert "Timed out" in replies[0].text


def test_helo_where_ehlo_is_unknown(client: Client):
    server = client.server(answers={"EHLO": b"502 5.5.1 What?\r\n"})
    assert client.send(server, mail())[0].code == 250
    assert server.commands[:2] == ["EHLO me.test", "HELO me.test"]


@pytest.mark.parametrize("answers", [{"GREETING": b"554 No\r\n"}, {"GREETING": b"421 No\r\n"}, {"EHLO": b"450 No\r\n"}])
def test_a_hop_that_does_not_want_us_is_no_fault_of_a_mail(client: Client, answers):
    assert client.refused(client.server(answers=answers)).is_transient


def test_a_greeting_that_is_not_one(client: Client):
    assert client.refused(client.server(answers={"GREETING": b"HTTP/1.1 400 Bad Request\r\n\r\n"})).is_transient
    assert client.refused(client.server(answers={"GREETING": b"250 Ok\r\n"})).is_transient


def test_nobody_listens(client: Client):
    server = client.server()
    hop = server.hop()
    server.down()
    failures: list[Any] = []
    Deferred.fromCoroutine(connect(client.loop, hop, "me.test", None)).addErrback(failures.append)
    client.loop.until(lambda: client.loop.advance(0.1) or failures)
    server.up()
    reply = failures[0].value.reply
    assert (reply.is_transient, reply.enhanced) == (True, "4.4.1")


def test_530_to_mail_is_no_fault_of_the_mail(client: Client):
    connection = client.connect(client.server(answers={"MAIL": b"530 5.7.0 Authentication required\r\n"}))
    with pytest.raises(HopError):
        client.deliver(connection, mail())
    assert not connection.is_stale


def test_a_connection_that_is_not_free_for_a_second_mail_is_no_fault_of_that(client: Client):
    refused = {"RCPT": b"550 5.1.1 No\r\n", "RSET": b"421 4.7.0 Too many errors\r\n"}
    connection = client.connect(client.server(answers=refused, extensions=()))
    assert client.deliver(connection, mail())[0].code == 550
    with pytest.raises(HopError):
        client.deliver(connection, mail())
    assert connection.is_stale


def test_a_connection_that_died_between_two_mails_is_no_fault_of_the_second(client: Client):
    server = client.server()
    connection = client.connect(server)
    client.deliver(connection, mail())
    server.connections[0].transport.abortConnection()
    with pytest.raises(HopError):
        client.deliver(connection, mail())


def test_a_farewell_between_two_mails_is_heard(client: Client):
    server = client.server()
    connection = client.connect(server)
    client.deliver(connection, mail())
    server.connections[0].transport.write(b"421 4.4.2 Idle too long\r\n")
    client.loop.until(lambda: not connection.is_usable)


def test_no_content_is_sent_until_the_last_result_is_durable(client: Client):
    server = client.server()
    connection = client.connect(server)
    connection.before_content = durable = Deferred()
    replies: list[Any] = []
    Deferred.fromCoroutine(connection.deliver(mail(), [0])).addBoth(replies.append)
    client.loop.until(lambda: "DATA" in server.commands)
    for _ in range(5):
        client.loop.turn()
    assert not server.mails
    durable.callback(None)
    client.loop.until(lambda: replies)
    assert replies[0][0].code == 250
    assert len(server.mails) == 1
