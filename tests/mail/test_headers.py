"""Header fields: where they end, which addresses they hold, what is added and rewritten; nothing else is touched."""

import email
import email.policy
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.address import Pattern
from multid.mail.complete import Completion, complete
from multid.mail.envelope import Recipient
from multid.mail.headers import count_received, fields_end, map_addresses, parse_fields, received, rfc5322_date
from multid.mail.rewrite import RecipientRule, Rewriting, SenderRule

address = st.sampled_from(["root", "root@host", '"r t"@host', "a@[192.0.2.1]", "x@example.org", "ü@x", "<bad", "a@b@c"])
phrase = st.sampled_from(["", "John Doe ", '"Doe, John" ', "=?utf-8?q?J?= ", "(a, (b) \\) c) ", "Jörg ", '"<a@b>" '])
mailbox = st.one_of(address, st.tuples(phrase, address).map(lambda parts: f"{parts[0]}<{parts[1]}>"))
mailboxes = st.lists(st.one_of(mailbox, mailbox.map(lambda m: f"Group: {m};")), max_size=4).map(",\r\n ".join)
field = st.tuples(
    st.sampled_from(["From", "from ", "Sender", "Reply-To", "To", "CC", "Subject", "X-Other", "Date", "Message-Id"]),
    st.one_of(mailboxes, st.text('ab<>@,;:"\\() \t', max_size=20)),
).map(lambda parts: f"{parts[0]}: {parts[1]}\r\n".encode())
fields = st.lists(field, max_size=6).map(b"".join)


@pytest.mark.parametrize(
    ("head", "end"),
    [
        (b"", 0),
        (b"A: b\r\n", 6),
        (b"A: b\r\n c\r\n\td\r\nE:f\r\n", 19),
        (b"A : b\r\n", 7),
        (b"A: b\r\n\r\nC: d\r\n", 6),
        (b"A: b\r\nno field\r\nC: d\r\n", 6),
        (b" folded\r\nA: b\r\n", 0),
        (b"A b: c\r\n", 0),
        (b": c\r\n", 0),
        (b"\xc3\xa4: c\r\n", 0),
        (b"A: \xc3\xa4\r\n", 7),
        (b"A: b", 0),
    ],
)
def test_the_header_ends_where_a_line_is_no_field(head: bytes, end: int) -> None:
    assert fields_end(head) == end


def test_a_field_has_a_name_and_all_its_octets() -> None:
    block = b"From: a\r\n b\r\nX-y :z\r\n"
    parsed = parse_fields(block)
    assert parsed == [(b"From", b":", b" a\r\n b\r\n"), (b"X-y", b" :", b"z\r\n")]
    assert b"".join(map(b"".join, parsed)) == block


def test_received_fields_are_counted_at_the_beginning_of_lines() -> None:
    assert count_received(b"Received: a\r\n received: no\r\nRECEIVED : b\r\nX-Received: c\r\nReceived-SPF: d\r\n") == 2


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("a@b", "[a@b]"),
        ("root", "[root]"),
        ("root (Cron Daemon)", "[root] (Cron Daemon)"),
        ("<a@b>", "<[a@b]>"),
        ('"A, B" <a@b>, c@d (x, y (z)), "q q"@x,\r\n e', '"A, B" <[a@b]>, [c@d] (x, y (z)), ["q q"@x],\r\n [e]'),
        ("Grp: a@b, c;, d", "Grp: [a@b], [c];, [d]"),
        ("undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("John Doe", "John Doe"),
        ("a@[192.0.2.1]", "[a@[192.0.2.1]]"),
        ("<>", "<[]>"),
        (r"(\) a) b@c", r"(\) a) [b@c]"),
        ("Jörg <j@x>", "Jörg <[j@x]>"),
        ('"<a@b>" <c@d>', '"<a@b>" <[c@d]>'),
        ("a@b <c@d>", "a@b <[c@d]>"),
        (") a@b", ") [a@b]"),
    ],
)
def test_addresses_are_found_and_all_else_stays(body: str, changed: str) -> None:
    assert map_addresses(body.encode(), lambda text: f"[{text}]") == changed.encode()


def test_octets_that_are_no_utf8_stay() -> None:
    assert map_addresses(b"\xe9 <a@b>", str.upper) == b"\xe9 <A@B>"


@given(st.text())
def test_any_text_is_given_back_where_nothing_is_changed(text: str) -> None:
    assert map_addresses(text.encode("utf-8", "replace"), lambda found: found) == text.encode("utf-8", "replace")


@pytest.mark.parametrize("at", [0, 951782400, 1764025001, 4102444799])
def test_a_date_is_what_others_read_it_as(at: int) -> None:
    assert parsedate_to_datetime(rfc5322_date(at)).timestamp() == at


def test_a_received_field_is_read_by_others() -> None:
    field = received(
        helo="client", literal="[192.0.2.1]", by="x", protocol="ESMTP", id="Q", recipient="ü@x", at=1764025001.9
    )
    message = email.message_from_bytes(field + b"\r\n", policy=email.policy.SMTPUTF8)
    assert message["Received"].replace("\t", " ") == (
        "from client ([192.0.2.1]) by x with ESMTP id Q for <ü@x>; Mon, 24 Nov 2025 22:56:41 +0000"
    )


def done(block: bytes, completion: Completion | None = None, sender: str = "s@host") -> bytes:
    return complete(block, completion or Completion(), sender=sender, domain="example.org", id="ID", at=1764025001.0)


def test_what_is_missing_is_added() -> None:
    assert done(b"Subject: x\r\n") == (
        b"Subject: x\r\nDate: Mon, 24 Nov 2025 22:56:41 +0000\r\nMessage-ID: <ID@example.org>\r\nFrom: <s@host>\r\n"
    )


def test_what_is_there_stays() -> None:
    block = b"date: x\r\nMESSAGE-ID: y\r\nFrom : a@b\r\n"
    assert done(block) == block


def test_what_is_not_to_be_added_is_not() -> None:
    nothing = Completion(date=False, message_id=False, from_=False)
    assert done(b"To: root\r\n", nothing) == b"To: root\r\n"


def test_the_null_sender_becomes_no_from() -> None:
    assert b"From" not in done(b"", sender="")


def test_addresses_without_a_domain_get_one() -> None:
    block = b'From: root (Cron)\r\nTo: a, B <b>, c@d\r\nCc: "x y"\r\nSubject: root\r\nDate: d\r\nMessage-ID: m\r\n'
    assert done(block) == (
        b'From: root@example.org (Cron)\r\nTo: a@example.org, B <b@example.org>, c@d\r\nCc: "x y"@example.org\r\n'
        b"Subject: root\r\nDate: d\r\nMessage-ID: m\r\n"
    )


@given(fields)
def test_completing_twice_is_completing_once(block: bytes) -> None:
    assert done(done(block)) == done(block)
    assert fields_end(done(block)) == len(done(block))


RULES = Rewriting(
    (
        SenderRule(Pattern("root@*"), "alerts@example.org"),
        SenderRule(Pattern("*@host"), "host@example.org"),
        SenderRule(Pattern("alerts@*"), "other@example.org"),
    ),
    (
        RecipientRule(Pattern("root@*"), ("a@x", "b@x")),
        RecipientRule(Pattern("*@x"), ("c@x",)),
    ),
)


def test_the_first_rule_that_matches_counts() -> None:
    assert RULES.sender("Root@host") == "alerts@example.org"
    assert RULES.sender("joe@host") == "host@example.org"
    assert RULES.sender("joe@else") == "joe@else"


def test_the_null_sender_and_what_rules_lead_to_stay() -> None:
    assert Rewriting((SenderRule(Pattern("*"), "a@b"),)).sender("") == ""
    assert Rewriting((SenderRule(Pattern("<>"), "a@b"),)).sender("") == ""
    assert RULES.sender("ALERTS@example.org") == "ALERTS@example.org"


def test_a_recipient_becomes_one_or_several_that_remember_it() -> None:
    assert RULES.recipient(Recipient("root@h")) == (
        Recipient("a@x", orcpt="rfc822;root@h"),
        Recipient("b@x", orcpt="rfc822;root@h"),
    )
    assert RULES.recipient(Recipient("z@x", orcpt="rfc822;q@x")) == (Recipient("c@x", orcpt="rfc822;q@x"),)
    for kept in ("A@x", "z@y"):
        assert RULES.recipient(Recipient(kept)) == (Recipient(kept),)


def test_senders_in_the_header_are_rewritten_and_the_original_is_kept() -> None:
    block = (
        b'From: "Root, of all" <root@host>\r\n (really)\r\nSender: joe@host\r\nReply-To: root@h, x@y\r\n'
        b"To: root@host\r\nSubject: root@host\r\n"
    )
    assert RULES.header(block) == (
        b'From: "Root, of all" <alerts@example.org>\r\n (really)\r\n'
        b'X-Original-From: "Root, of all" <root@host>\r\n (really)\r\n'
        b"Sender: host@example.org\r\nReply-To: alerts@example.org, x@y\r\nTo: root@host\r\nSubject: root@host\r\n"
    )


def test_an_original_that_is_kept_already_stays() -> None:
    block = b"X-Original-From: first@x\r\nFrom: root@host\r\n"
    assert RULES.header(block) == b"X-Original-From: first@x\r\nFrom: alerts@example.org\r\n"


def test_without_rules_nothing_is_looked_at() -> None:
    assert Rewriting().header(b"anything") == b"anything"


@given(fields)
def test_rewriting_twice_is_rewriting_once(block: bytes) -> None:
    once = RULES.header(block)
    assert RULES.header(once) == once
    assert fields_end(once) == len(once)


@given(st.lists(st.sampled_from(["root@h", "a@x", "b@x", "c@x", "d@x", "e@y"])))
def test_rewriting_recipients_twice_is_rewriting_them_once(addresses: list[str]) -> None:
    for text in addresses:
        once = RULES.recipient(Recipient(text))
        assert [again for other in once for again in RULES.recipient(other)] == list(once)
