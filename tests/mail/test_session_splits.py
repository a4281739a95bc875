"""Whatever a client sends, the replies and the mails are the same however its octets are split."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.mail.conversation import SETTINGS, Conversation, Mail, lint

LINES = [
    b"EHLO client",
    b"HELO client",
    b"MAIL FROM:<a@b>",
    b"MAIL FROM:<a@b> SIZE=70000",
    b"MAIL FROM:<a@b> BODY=BINARYMIME",
    b"RCPT TO:<c@d>",
    b"RCPT TO:<e@f> NOTIFY=NEVER",
    b"RCPT TO:<>",
    b"DATA",
    b"BDAT 10",
    b"BDAT 7 LAST",
    b"BDAT 0 LAST",
    b"BDAT x",
    b"RSET",
    b"NOOP",
    b"VRFY x",
    b"AUTH PLAIN AHVzZXIAc2VjcmV0",
    b"AUTH LOGIN",
    b"dXNlcg==",
    b"c2VjcmV0",
    b"*",
    b"",
    b".",
    b"..",
    b"Subject: x",
    b" folded",
    b"text \xff",
    b"x" * 3000,
    b"\0",
]
line = st.tuples(st.sampled_from(LINES), st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b""])).map(b"".join)
begun = st.sampled_from(
    [b"", b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"]
)
stream = st.tuples(begun, st.lists(line, max_size=25).map(b"".join)).map(b"".join)


def played(pieces: list[bytes], bare_newline: str) -> tuple[bytes, list[Mail], str, bool]:
    settings = replace(SETTINGS, auth="plain", max_size=4096, max_errors=6, max_recipients=2, bare_newline=bare_newline)  # type: ignore[arg-type]
    conversation = Conversation(settings)
    for piece in pieces:
        conversation.feed(piece)
    return conversation.out, conversation.mails, conversation.closed, conversation.open


@given(stream, st.lists(st.integers(0, 3000), max_size=6), st.sampled_from(["normalize", "reject"]))
def test_a_session_is_the_same_at_every_split(octets: bytes, cuts: list[int], bare_newline: str) -> None:
    whole = played([octets], bare_newline)
    lint(whole[0])
    places = sorted(cut for cut in cuts if cut < len(octets))
    pieces = [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)], strict=True)]
    assert played(pieces, bare_newline) == whole
    assert played([octets[i : i + 1] for i in range(len(octets))], bare_newline) == whole
