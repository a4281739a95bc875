"""What a session guarantees beyond what the dialogues show: limits on both sides, traces, envelopes, ends."""

import re
from dataclasses import replace

import pytest

from multid.mail.address import Pattern
from multid.mail.complete import Completion
from multid.mail.content import MAX_HEADER
from multid.mail.envelope import Recipient
from multid.mail.reply import SHUTTING_DOWN, TIMEOUT, Reply
from multid.mail.rewrite import RecipientRule, Rewriting, SenderRule
from multid.mail.settings import Peer
from tests.mail.conversation import SETTINGS, STRANGER, Conversation


def ready(
    conversation: Conversation | None = None, *, mail: str = "MAIL FROM:<a@b>", helo: str = "EHLO client"
) -> Conversation:
    """Return a conversation that awaits the content of a mail."""
    conversation = conversation or Conversation()
    for line in (helo, mail, "RCPT TO:<c@d>"):
        assert conversation.line(line).startswith(b"250"), line
    assert conversation.line("DATA").startswith(b"354")
    return conversation


def code(replies: bytes) -> bytes:
    return replies[:3]


@pytest.mark.parametrize(
    ("fill", "expected"),
    [(2048 - len("NOOP \r"), b"250"), (2048 - len("NOOP \r") + 1, b"500")],
    ids=["longest", "longer"],
)
def test_a_command_line_is_at_most_2_kib(fill: int, expected: bytes) -> None:
    conversation = Conversation()
    assert code(conversation.line("NOOP " + "x" * fill)) == expected
    assert bool(conversation.closed) == (expected == b"500")


def test_a_line_without_an_end_is_cut_off() -> None:
    conversation = Conversation()
    conversation.feed(b"x" * 2048)
    assert not conversation.closed
    conversation.feed(b"x")
    assert conversation.replies[-1] == b"500 5.5.2 Line too long\r\n"
    assert conversation.closed
    assert conversation.feed(b"\r\nNOOP\r\n") == b""


@pytest.mark.parametrize(("length", "expected"), [(12287, b"501"), (12288, b"500 5.5.6")], ids=["longest", "longer"])
def test_an_auth_response_is_at_most_12_kib(length: int, expected: bytes) -> None:
    conversation = Conversation(replace(SETTINGS, auth="plain"))
    conversation.line("EHLO client")
    conversation.line("AUTH PLAIN")
    assert conversation.feed(b"!" * length + b"\r\n").startswith(expected)


@pytest.mark.parametrize(("hops", "expected"), [(50, b"250"), (51, b"554 5.4.6")], ids=["most", "more"])
def test_a_mail_that_passed_too_many_relays_is_a_loop(hops: int, expected: bytes) -> None:
    conversation = ready()
    assert conversation.feed(b"Received: x\r\n" * hops + b"X-Received: y\r\n\r\nBody\r\n.\r\n").startswith(expected)


@pytest.mark.parametrize(
    ("size", "expected"), [(MAX_HEADER, b"250"), (MAX_HEADER + 1, b"552 5.3.4")], ids=["most", "more"]
)
def test_a_header_is_at_most_1_mib(size: int, expected: bytes) -> None:
    conversation = ready()
    line = b"X: " + b"y" * 60 + b"\r\n"
    fields = line * (size // len(line) - 1)
    fields += b"X: " + b"z" * (size - len(fields) - 5) + b"\r\n"
    assert len(fields) == size
    for at in range(0, size, 50000):
        assert conversation.feed(fields[at : at + 50000]) == b""
    assert conversation.feed(b"\r\nBody\r\n.\r\n").startswith(expected)


def test_a_header_line_of_more_than_1_mib_is_refused_at_the_end_of_data() -> None:
    conversation = ready()
    assert conversation.feed(b"X: " + b"y" * MAX_HEADER + b"\r\n\r\n") == b""
    assert conversation.feed(b"QUIT\r\n.\r\n").startswith(b"552 5.3.4")
    assert code(conversation.line("NOOP")) == b"250"


def test_a_body_of_more_than_1_mib_without_header_or_blank_line_is_a_mail() -> None:
    conversation = ready()
    body = b"a line\r\n" * (MAX_HEADER // 8 + 1)
    assert conversation.feed(body + b".\r\n").startswith(b"250")
    assert conversation.mails[0].content == b"\r\n" + body


def test_a_first_line_of_more_than_1_mib_that_is_no_header_is_a_body() -> None:
    conversation = ready()
    body = b"x" * (MAX_HEADER + 1) + b"\r\n"
    for at in range(0, len(body), 65536):
        conversation.feed(body[at : at + 65536])
    assert conversation.feed(b".\r\n").startswith(b"250")
    assert conversation.mails[0].content == b"\r\n" + body


def test_far_more_data_than_the_limit_closes_the_connection() -> None:
    conversation = ready(Conversation(replace(SETTINGS, max_size=65536)))
    limit = 2 * 65536 + (1 << 20)
    assert conversation.feed(b"A: b\r\n\r\n" + b"x" * (limit - 8)) == b""
    assert conversation.feed(b"x" * 3).startswith(b"421 4.7.0")
    assert conversation.closed
    assert not conversation.open


def test_far_more_data_than_the_limit_is_so_also_where_its_end_comes_along() -> None:
    for size, reply in ((2 * 65536 + (1 << 20), b"552"), (2 * 65536 + (1 << 20) + 1, b"421")):
        conversation = ready(Conversation(replace(SETTINGS, max_size=65536)))
        assert conversation.feed(b"x" * (size - 2) + b"\r\n.\r\n").startswith(reply)


def test_far_more_in_chunks_than_the_limit_closes_the_connection() -> None:
    conversation = Conversation(replace(SETTINGS, max_size=65536))
    for line in ("EHLO client", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", f"BDAT {2 * 65536 + (1 << 20)}"):
        conversation.line(line)
    assert conversation.feed(b"x" * (2 * 65536 + (1 << 20))).startswith(b"552")
    for line in ("RSET", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
        assert code(conversation.line(line)) == b"250"
    assert conversation.line(f"BDAT {2 * 65536 + (1 << 20) + 1}").startswith(b"421")


def test_far_more_in_several_chunks_than_the_limit_closes_the_connection() -> None:
    conversation = Conversation(replace(SETTINGS, max_size=65536))
    most = conversation.session._settings.most_data
    for line in ("EHLO client", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 65536"):
        conversation.line(line)
    assert conversation.feed(b"x" * 65536).startswith(b"250")
    conversation.line(f"BDAT {most}")
    assert conversation.feed(b"x" * (most - 65536)) == b""
    assert conversation.feed(b"x").startswith(b"421")
    assert conversation.closed


ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "LF.CR": b"\n.\r",
    "CRLF NUL.CRLF": b"\r\n\0.\r\n",
    "CRLF.NUL CRLF": b"\r\n.\0\r\n",
    "CRLF.SP CRLF": b"\r\n. \r\n",
    "CRCRLF.CRCRLF": b"\r\r\n.\r\r\n",
}


@pytest.mark.parametrize("bare_newline", ["normalize", "reject"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_only_crlf_dot_crlf_ends_a_mail(end: bytes, bare_newline: str) -> None:
    """Whatever else looks like an end: one mail, or one refusal, and no command of the content is carried out."""
    conversation = ready(Conversation(replace(SETTINGS, bare_newline=bare_newline)))
    smuggled = b"MAIL FROM:<x@y>\r\nRCPT TO:<z@y>\r\nDATA\r\nSubject: two\r\n\r\ntwo"
    assert conversation.feed(b"Subject: one\r\n\r\none" + end + smuggled) == b""
    reply = conversation.feed(b"\r\n.\r\n")
    assert code(reply) in {b"250", b"554"}
    assert reply.count(b"\r\n") == 1
    assert len(conversation.mails) == (code(reply) == b"250")
    for mail in conversation.mails:
        assert b"MAIL FROM:<x@y>\r\n" in mail.content
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", mail.content)
    assert conversation.line("NOOP") == b"250 2.0.0 Ok\r\n"


def test_what_is_glued_behind_starttls_is_never_read() -> None:
    conversation = Conversation(replace(SETTINGS, starttls="optional"))
    conversation.feed(b"EHLO client\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert conversation.replies[-1].startswith(b"220 2.0.0")
    assert conversation.closed
    assert not conversation.tls_started


def test_what_comes_in_clear_before_tls_has_started_is_never_read() -> None:
    conversation = Conversation(replace(SETTINGS, starttls="optional"))
    session = conversation.session
    session.receive(b"STARTTLS\r\n")
    assert session.receive(b"MAIL FROM:<a@b>\r\n") == []
    assert [type(event).__name__ for event in session.answer("TLSv1.3")] == ["Close"]


def test_starttls_forgets_the_mail_that_was_begun() -> None:
    conversation = Conversation(replace(SETTINGS, starttls="optional"))
    for line in ("EHLO client", "MAIL FROM:<a@b>", "STARTTLS"):
        conversation.line(line)
    assert conversation.tls_started
    assert not conversation.open
    assert conversation.line("RCPT TO:<c@d>").startswith(b"503")


TRACES = {
    "SMTP": ("HELO client", "", "", "MAIL FROM:<a@b>"),
    "ESMTP": ("EHLO client", "", "", "MAIL FROM:<a@b>"),
    "ESMTPS": ("EHLO client", "TLSv1.3", "", "MAIL FROM:<a@b>"),
    "ESMTPA": ("EHLO client", "", "user", "MAIL FROM:<a@b>"),
    "ESMTPSA": ("EHLO client", "TLSv1.2", "user", "MAIL FROM:<a@b>"),
    "UTF8SMTP": ("EHLO client", "", "", "MAIL FROM:<a@b> SMTPUTF8"),
    "UTF8SMTPSA": ("EHLO client", "TLSv1.3", "user", "MAIL FROM:<a@b> SMTPUTF8"),
}


@pytest.mark.parametrize("protocol", TRACES)
def test_one_received_field_says_how_the_mail_came(protocol: str) -> None:
    helo, tls, user, mail = TRACES[protocol]
    conversation = Conversation(replace(SETTINGS, auth="plain"), tls=tls)
    conversation.line("EHLO client")
    if user:
        assert conversation.line("AUTH PLAIN AHVzZXIAc2VjcmV0").startswith(b"235")
    ready(conversation, mail=mail, helo=helo)
    conversation.feed(b"Received: earlier\r\nSubject: x\r\n\r\n.\r\n")
    [taken] = conversation.mails
    assert taken.trace == (
        b"Received: from client ([192.0.2.1])\r\n\tby mail.example.org with " + protocol.encode() + b" id ID0\r\n"
        b"\tfor <c@d>;\r\n\tMon, 24 Nov 2025 22:56:41 +0000\r\n"
    )
    assert taken.content == b"Received: earlier\r\nSubject: x\r\n\r\n"
    assert (taken.envelope.tls, taken.envelope.auth_user, taken.envelope.helo) == (tls, user, "client")


def test_a_received_field_names_no_one_of_several_recipients() -> None:
    conversation = Conversation()
    for line in ("EHLO client", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<secret@e>", "DATA"):
        conversation.line(line)
    conversation.feed(b"Subject: x\r\n\r\n.\r\n")
    assert b"for " not in conversation.mails[0].trace
    assert b"<" not in conversation.mails[0].trace


@pytest.mark.parametrize(
    ("peer", "literal"),
    [
        (Peer("2001:db8::1", 5, is_trusted=True), b"client ([IPv6:2001:db8::1])"),
        (Peer("fe80::1%eth0", 5, is_trusted=True), b"client ([IPv6:fe80::1])"),
        (Peer("", 0, is_trusted=True), b"client"),
    ],
    ids=["ipv6", "scoped", "unix"],
)
def test_a_received_field_names_the_peer_as_a_literal(peer: Peer, literal: bytes) -> None:
    conversation = ready(Conversation(peer=peer))
    conversation.feed(b".\r\n")
    assert conversation.mails[0].trace.startswith(b"Received: from " + literal + b"\r\n")


def test_an_envelope_holds_what_mail_and_rcpt_said() -> None:
    conversation = Conversation()
    for line in (
        "EHLO client",
        "MAIL FROM:<A@b> RET=HDRS ENVID=Q+2BQ BODY=8BITMIME",
        "RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2Bc@d",
        "RCPT TO:<e@f> NOTIFY=NEVER",
        "DATA",
    ):
        assert code(conversation.line(line)) in {b"250", b"354"}
    conversation.feed("Subject: x\r\n\r\nGrüße\r\n.\r\n".encode())
    envelope = conversation.mails[0].envelope
    assert envelope.sender == "A@b"
    assert envelope.recipients == (
        Recipient("c@d", frozenset({"SUCCESS", "DELAY"}), "rfc822;x+c@d"),
        Recipient("e@f", frozenset({"NEVER"})),
    )
    assert (envelope.ret, envelope.envid, envelope.body, envelope.smtputf8) == ("HDRS", "Q+Q", "8BITMIME", False)
    assert (envelope.peer, envelope.origin, envelope.id) == ("192.0.2.1:4711", "smtp", "ID0")


@pytest.mark.parametrize(
    ("mail", "content", "body", "smtputf8"),
    [
        ("MAIL FROM:<a@b> BODY=8BITMIME", "A: b\r\n\r\nplain\r\n", "7BIT", False),
        ("MAIL FROM:<a@b>", "A: b\r\n\r\nGrüße\r\n", "8BITMIME", False),
        ("MAIL FROM:<a@b>", "A: Grüße\r\n\r\n", "8BITMIME", False),
        ("MAIL FROM:<a@b> SMTPUTF8", "A: b\r\n\r\nGrüße\r\n", "8BITMIME", False),
        ("MAIL FROM:<a@b> SMTPUTF8", "A: Grüße\r\n\r\n", "8BITMIME", True),
        ("MAIL FROM:<ä@b> SMTPUTF8", "A: b\r\n\r\n", "7BIT", True),
    ],
)
def test_an_envelope_says_what_the_content_is_not_what_was_declared(
    mail: str, content: str, body: str, smtputf8: bool
) -> None:
    conversation = ready(mail=mail)
    conversation.feed(content.encode() + b".\r\n")
    envelope = conversation.mails[0].envelope
    assert (envelope.body, envelope.smtputf8) == (body, smtputf8)


def test_a_mail_is_completed_and_rewritten_in_envelope_and_header() -> None:
    rewriting = Rewriting(
        (SenderRule(Pattern("root@*"), "alerts@example.com"),),
        (RecipientRule(Pattern("root@*"), ("a@example.com", "b@example.com")),),
    )
    conversation = Conversation(replace(SETTINGS, completion=Completion(), rewriting=rewriting))
    for line in ("HELO client", "MAIL FROM:<root>", "RCPT TO:<root> NOTIFY=NEVER", "RCPT TO:<b@example.com>", "DATA"):
        conversation.line(line)
    conversation.feed(b"From: root (Cron Daemon)\r\nTo: root\r\nSubject: Cron\r\n\r\nout\r\n.\r\n")
    [mail] = conversation.mails
    assert mail.envelope.sender == "alerts@example.com"
    assert mail.envelope.recipients == (
        Recipient("a@example.com", frozenset({"NEVER"}), "rfc822;root@example.org"),
        Recipient("b@example.com", frozenset({"NEVER"}), "rfc822;root@example.org"),
    )
    assert mail.content == (
        b"From: alerts@example.com (Cron Daemon)\r\n"
        b"X-Original-From: root@example.org (Cron Daemon)\r\n"
        b"To: root@example.org\r\nSubject: Cron\r\n"
        b"Date: Mon, 24 Nov 2025 22:56:41 +0000\r\nMessage-ID: <ID0@example.org>\r\n\r\nout\r\n"
    )


def test_a_spool_without_room_is_told_at_mail_and_the_session_goes_on() -> None:
    conversation = Conversation(room=1000)
    conversation.line("EHLO client")
    assert conversation.line("MAIL FROM:<a@b> SIZE=1001").startswith(b"452 4.3.1")
    assert conversation.line("MAIL FROM:<a@b> SIZE=1000").startswith(b"250")


def test_errors_are_forgiven_when_a_mail_is_taken() -> None:
    conversation = Conversation(replace(SETTINGS, max_errors=3))
    conversation.line("X")
    conversation.line("X")
    ready(conversation).feed(b".\r\n")
    conversation.line("X")
    conversation.line("X")
    assert not conversation.closed


def test_after_300_commands_more_than_there_may_be_recipients_without_a_mail_the_session_ends() -> None:
    conversation = Conversation(replace(SETTINGS, max_recipients=5))
    for _ in range(305):
        assert conversation.line("NOOP").startswith(b"250")
    assert not conversation.closed
    assert b"\r\n421 4.7.0 Too many commands" in conversation.line("NOOP")
    assert conversation.closed


def test_commands_are_forgiven_when_a_mail_is_taken_and_large_chunks_are_none() -> None:
    conversation = Conversation(replace(SETTINGS, max_recipients=5))
    for _ in range(300):
        conversation.line("NOOP")
    ready(conversation).feed(b".\r\n")
    for line in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>", *["NOOP"] * 303):
        conversation.line(line)
    for _ in range(50):
        conversation.feed(b"BDAT 1024\r\n" + b"x" * 1022 + b"\r\n")
    assert not conversation.closed
    conversation.feed(b"BDAT 1023\r\n" + b"x" * 1023)
    assert conversation.closed


def test_a_recipient_too_many_is_no_error() -> None:
    conversation = Conversation(replace(SETTINGS, max_errors=3, max_recipients=1))
    for line in ("EHLO client", "MAIL FROM:<a@b>", *(f"RCPT TO:<c{n}@d>" for n in range(9))):
        conversation.line(line)
    assert not conversation.closed


def test_an_idle_session_ends_with_421() -> None:
    conversation = Conversation()
    conversation.line("EHLO client")
    conversation._run(conversation.session.end(SHUTTING_DOWN))
    assert conversation.replies[-1].startswith(b"421 4.3.2")
    assert conversation.closed


def test_a_session_that_ends_takes_the_mail_that_is_coming_in() -> None:
    conversation = ready()
    conversation._run(conversation.session.end(SHUTTING_DOWN))
    assert not conversation.closed
    replies = conversation.feed(b"Subject: x\r\n\r\n.\r\nNOOP\r\n")
    assert replies == b"250 2.0.0 Ok: queued as ID0\r\n421 4.3.2 Service shutting down, try again later\r\n"
    assert conversation.closed


def test_a_session_that_ends_at_once_forgets_the_mail_that_is_coming_in() -> None:
    conversation = ready()
    conversation.feed(b"Subject: x\r\n")
    conversation._run(conversation.session.end(TIMEOUT, at_once=True))
    assert conversation.replies[-1].startswith(b"421 4.4.2")
    assert conversation.closed
    assert not conversation.open
    assert conversation.session.end(TIMEOUT, at_once=True) == []


def test_an_answer_that_comes_after_the_end_is_of_no_interest() -> None:
    session = Conversation(replace(SETTINGS, auth="plain")).session
    session.receive(b"EHLO client\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\n")
    session.end(TIMEOUT, at_once=True)
    assert session.answer(Reply(235, "2.7.0", "Ok")) == []
    assert not session.user


def test_an_answer_that_nobody_waits_for_is_a_mistake() -> None:
    with pytest.raises(RuntimeError):
        Conversation().session.answer(None)


def test_what_is_refused_is_told_for_the_log_without_what_may_be_secret() -> None:
    conversation = Conversation(replace(SETTINGS, auth="plain", max_errors=100), STRANGER)
    conversation.line("EHLO client")
    conversation.line("AUTH PLAIN AHVzZXIAd3Jvbmcx!")
    conversation.line("AHVzZXIAc2VjcmV0")
    conversation.line("AUTH LOGIN")
    conversation.line("MAIL FROM:secret")
    conversation.line("mailsecret")
    conversation.line("MAIL FROM:<a@b>")
    assert [(told.what, told.reply.code) for told in conversation.refused] == [
        ("AUTH", 501),
        ("a command", 500),
        ("AUTH", 501),
        ("a command", 500),
        ("MAIL FROM:<a@b>", 530),
    ]


def test_every_reply_to_a_flood_is_in_order() -> None:
    """A whole session in one write, its replies in the order of its commands (RFC 2920 3.1)."""
    conversation = Conversation()
    mail = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"
    replies = conversation.feed(b"EHLO client\r\n" + mail * 500 + b"QUIT\r\n")
    assert replies.count(b"250 2.0.0 Ok: queued") == 500
    assert [int(number) for number in re.findall(rb"queued as ID(\d+)", replies)] == list(range(500))
    assert replies.endswith(b"221 2.0.0 Bye\r\n")
