"""Content in the form that a next hop takes."""

import email
import email.policy
import itertools
from base64 import b64decode, b64encode
from email.message import EmailMessage, Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.downgrade import MAX_LINE, CannotConvertError, converted, has_long_line, is_fit, plan


def convert(content: bytes, *, is_7bit: bool = True) -> bytes:
    found = plan(content, is_7bit=is_7bit)
    return b"".join(converted(found, lambda start, end: content[start:end]))


def is_plain(content: bytes, *, is_7bit: bool = True) -> bool:
    lines = content.split(b"\r\n")
    return all(
        len(line) <= MAX_LINE and not set(line) & {0, 10, 13} and (line.isascii() or not is_7bit) for line in lines
    )


def leaves(content: bytes) -> list[tuple[str, bytes]]:
    """The parts of a mail as a reader has them, lines of text ended by CRLF."""
    message: Message = email.message_from_bytes(content)
    return [
        (part.get_content_type(), part.get_payload(decode=True) or b"")
        for part in message.walk()
        if not part.is_multipart()
    ]


def mail(body: bytes, kind: str = "text/plain; charset=utf-8", encoding: str = "8bit", more: str = "") -> bytes:
    head = f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n{more}\r\n"
    return head.encode() + body


@pytest.mark.parametrize("is_7bit", [True, False])
@pytest.mark.parametrize("length", [0, 1, 997, 998])
def test_what_a_hop_takes_stays_as_it_is(length: int, is_7bit: bool):
    content = b"Subject: x\r\n\r\n" + b"x" * length + b"\r\n" + b"y" * length
    assert is_fit([content], is_7bit=is_7bit)
    assert convert(content, is_7bit=is_7bit) == content


@pytest.mark.parametrize("length", [999, 1000, 5000, 200_000])
@pytest.mark.parametrize("before", [b"", b"a\r\n", b"b" * 998 + b"\r\n"])
def test_a_line_of_999_octets_is_too_long(before: bytes, length: int):
    content = before + b"x" * length + b"\r\nshort\r\n"
    assert has_long_line(content)
    assert has_long_line(content[:-9])


@given(st.lists(st.integers(0, 1100), max_size=8))
def test_long_lines_are_found_wherever_they_are(lengths: list[int]):
    content = b"\r\n".join(b"x" * length for length in lengths)
    assert has_long_line(content) == any(length > MAX_LINE for length in lengths)


def test_8bit_text_becomes_quoted_printable():
    body = "Grüße,\r\n.\r\nein = und ein Leerzeichen \r\n".encode()
    new = convert(mail(body))
    assert is_plain(new)
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in new
    assert b"8bit" not in new
    assert leaves(new) == [("text/plain", body)]


def test_text_that_would_be_unreadable_becomes_base64():
    body = "Прощай, оружие\r\n".encode("koi8-r")
    new = convert(mail(body, "text/plain; charset=koi8-r"))
    assert b"base64" in new
    assert leaves(new) == [("text/plain", body)]


def test_8bit_text_stays_for_a_hop_that_takes_it():
    content = mail("Grüße\r\n".encode())
    assert is_fit([content], is_7bit=False)
    assert not is_fit([content], is_7bit=True)
    assert convert(content, is_7bit=False) == content


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b"x" * 499, b"\xe9"]), max_size=12), st.data())
def test_what_a_hop_takes_is_known_however_it_is_read(pieces: list[bytes], data: st.DataObject):
    content = b"".join(pieces)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=4))), len(content)]
    blocks = [content[a:b] for a, b in itertools.pairwise(cuts)]
    for is_7bit in (True, False):
        assert is_fit(blocks, is_7bit=is_7bit) == is_plain(content, is_7bit=is_7bit)


@given(st.binary(max_size=300), st.sampled_from(["text/plain", "application/octet-stream"]), st.booleans())
def test_any_body_is_the_same_when_decoded(body: bytes, kind: str, is_7bit: bool):
    new = convert(mail(body, kind, "binary"), is_7bit=is_7bit)
    assert is_plain(new, is_7bit=is_7bit)
    assert leaves(new) == [(kind, body)]
    assert convert(new, is_7bit=is_7bit) == new


@given(st.text("aé \t=.\r\n", max_size=300))
def test_any_text_is_the_same_when_decoded(text: str):
    body = text.encode()
    new = convert(mail(body, encoding="binary"))
    assert is_plain(new)
    assert leaves(new) == [("text/plain", body)]
    if b"quoted-printable" in new:
        assert all(len(line) <= 76 for line in new.partition(b"\r\n\r\n")[2].split(b"\r\n"))


@pytest.mark.parametrize("size", [65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("text", ["x", "xé", "é", "\r", "x\r\n", "xxxxxxxxxxxxxé=\r\n"])
def test_a_body_of_many_blocks_is_the_same_when_decoded(text: str, size: int):
    body = (text * size).encode()[:size]
    for kind in ("text/plain", "image/png"):
        new = convert(mail(body, kind, "binary"))
        assert is_plain(new)
        assert leaves(new) == [(kind, body)]


@given(st.binary(max_size=300), st.integers(1, 5))
def test_base64_in_one_line_is_wrapped(body: bytes, times: int):
    line = b64encode(body * times * 20)
    new = convert(mail(line, "image/png", "base64"))
    assert is_plain(new)
    assert leaves(new) == [("image/png", body * times * 20)]


@pytest.mark.parametrize("size", [49150, 49152, 49154, 200_000])
def test_much_base64_in_one_line_is_wrapped(size: int):
    new = convert(mail(b64encode(b"\xff" * size), "image/png", "base64"))
    text = new.partition(b"\r\n\r\n")[2]
    assert {len(line) for line in text.split(b"\r\n")[:-1]} == {76}
    assert b64decode(text) == b"\xff" * size


@pytest.mark.parametrize("line", [b"=E9", b"x=E9", b"xx=E9", b"a =20=3D"])
@pytest.mark.parametrize("size", [400, 30_000, 70_000])
def test_quoted_printable_with_lines_that_are_too_long_is_written_anew(line: bytes, size: int):
    body = line * size + b" \r\nsoft=\r\nbreak=\r\n\r\n\xe9"
    new = convert(mail(body, encoding="Quoted-Printable"))
    assert is_plain(new)
    assert all(len(part) <= 76 for part in new.partition(b"\r\n\r\n")[2].split(b"\r\n"))
    plain = {b"=E9": b"\xe9", b"x=E9": b"x\xe9", b"xx=E9": b"xx\xe9", b"a =20=3D": b"a  ="}[line] * size
    assert leaves(new) == [("text/plain", plain + b"\r\nsoftbreak\r\n\xe9")]


def test_a_mail_that_was_no_mime_becomes_one():
    new = convert(b"Subject: x\r\n\r\ncaf\xe9\r\n")
    assert new.startswith(
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"
    )


@pytest.mark.parametrize("content", [b"\r\ncaf\xe9\r\n", b"\r\n" + b"x" * 999])
def test_a_mail_without_a_header_gets_one(content: bytes):
    new = convert(content)
    assert is_plain(new)
    assert leaves(new) == [("text/plain", content[2:])]


def test_of_a_multipart_only_what_is_unfit_changes():
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
    message["Subject"] = "x"
    message.set_content("Viele herzliche Grüße aus der Ferne\n", cte="8bit")
    message.add_attachment(bytes(range(256)), maintype="application", subtype="zip", filename="t.xlsx")
    message.add_attachment("plain\n")
    content = message.as_bytes()
    new = convert(content)
    assert is_plain(new)
    assert leaves(new) == leaves(content)
    # The multipart says what it holds, the text is encoded, and the rest is what it was.
    assert new.count(b"Content-Transfer-Encoding: 7bit\r\n") == content.count(b"Encoding: 7bit\r\n") + 1
    assert new[new.index(b"aus der Ferne") :] == content[content.index(b"aus der Ferne") :]


def boundary(*parts: bytes, before: bytes = b"", after: bytes = b"\r\n", kind: str = "mixed") -> bytes:
    inside = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return mail(before + inside + b"--b--" + after, f'multipart/{kind}; boundary="b"', "8bit")


def test_parts_within_parts_are_converted():
    inner = boundary(mail(b"caf\xe9"), mail(b"plain"))
    new = convert(boundary(inner.replace(b"--b", b"--c").replace(b'"b"', b'"c"'), mail(b"\xff", "image/png")))
    assert is_plain(new)
    assert leaves(new) == [("text/plain", b"caf\xe9"), ("text/plain", b"plain"), ("image/png", b"\xff")]


def test_a_mail_within_a_mail_is_converted():
    inner = b"Subject: inner\r\n" + mail(b"caf\xe9\r\n")
    for outer in (mail(inner, "message/rfc822"), boundary(b"\r\n" + inner, kind="digest")):
        new = convert(outer)
        assert is_plain(new)
        assert leaves(new)[0][1].rstrip() == b"caf\xe9"


def test_what_stands_around_the_parts_goes_only_if_it_must():
    part = mail(b"caf\xe9")
    new = convert(boundary(part, before=b"For old readers\r\n", after=b"\r\nThe end\r\n"))
    assert b"For old readers\r\n--b" in new
    assert new.endswith(b"--b--\r\nThe end\r\n")
    new = convert(boundary(part, before=b"\xff\r\n", after=b"\r\n\xff"))
    assert is_plain(new)
    assert new.endswith(b"--b--")
    assert leaves(new) == [("text/plain", b"caf\xe9")]


def test_a_delimiter_that_never_came_and_lines_that_look_like_one_change_nothing():
    new = convert(mail(b"--bb\r\n--b \r\n\r\ncaf\xe9\r\n--bc\r\n", 'multipart/mixed; boundary="b"'))
    assert new.endswith(b"--b \r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n--bc\r\n")


@pytest.mark.parametrize("kind", ["signed", "encrypted"])
def test_what_was_signed_or_encrypted_is_never_changed(kind: str):
    with pytest.raises(CannotConvertError, match="signed"):
        convert(boundary(mail(b"caf\xe9"), mail(b"key", "application/pgp-signature"), kind=kind))
    sealed = boundary(mail(b"plain"), mail(b"key"), kind=kind).replace(b"--b", b"--c").replace(b'"b"', b'"c"')
    new = convert(boundary(sealed, mail(b"caf\xe9")))
    assert sealed in new
    assert is_plain(new)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"Subject: caf\xe9\r\n\r\nx\r\n", id="8-bit header"),
        pytest.param(b"Subject: x\r\nno field\r\n\r\ncaf\xe9\r\n", id="no header"),
        pytest.param(b"Subject: " + b"x" * 999 + b"\r\n\r\nx\r\n", id="endless word in the header"),
        pytest.param(b"Subject:" + b" " * 2500 + b"x\r\n\r\nx\r\n", id="endless space in the header"),
        pytest.param(mail(b"caf\xe9", encoding="x-uuencode"), id="unknown encoding"),
        pytest.param(mail(b"caf\xe9", "message/partial; id=1"), id="message/partial"),
        pytest.param(mail(b"caf\xe9", "multipart/mixed"), id="no boundary"),
        pytest.param(mail(b"caf\xe9", "multipart/mixed; boundary=b"), id="no part"),
        pytest.param(mail(b"Subject: caf\xe9\r\n\r\nx", "message/rfc822"), id="8-bit header within"),
        pytest.param((mail(b"", "message/rfc822") * 40) + b"\r\ncaf\xe9", id="nested too deep"),
    ],
)
def test_what_cannot_be_converted_is_refused(content: bytes):
    with pytest.raises(CannotConvertError):
        convert(content)


def test_long_lines_of_a_header_are_folded_at_a_space():
    long = b"References: " + b" ".join(b"<%d@example.org>" % n for n in range(200))
    new = convert(b"Subject: x\r\n" + long + b"\r\n\r\nx\r\n")
    assert is_plain(new)
    assert new.replace(b"\r\n <", b" <") == b"Subject: x\r\n" + long + b"\r\n\r\nx\r\n"


@given(st.lists(st.sampled_from([b"--b", b"--b--", b"\r\n", b"\xe9", b"Content-Type: message/rfc822", b"x: y", b"\0"])))
def test_no_content_makes_it_fail_otherwise(pieces: list[bytes]):
    content = mail(b"".join(pieces), "multipart/mixed; boundary=b")
    try:
        new = convert(content)
    except CannotConvertError:
        return
    assert is_plain(new)
