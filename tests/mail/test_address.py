"""Addresses: the grammar of RFC 5321 4.1.2 on both sides of every limit, xtext, and patterns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.address import (
    AddressError,
    Pattern,
    decode_xtext,
    encode_xtext,
    parse_mailbox,
    split_mailbox,
    split_path,
)

LABEL = "d" * 63
DOMAIN = ".".join([LABEL] * 3)

VALID = {
    "a@b": "a@b",
    "A.b+c@Example.ORG": "A.b+c@Example.ORG",
    '"a"@b': "a@b",
    '"a.b"@c': "a.b@c",
    '"a b"@c': '"a b"@c',
    r'"a\b"@c': "ab@c",
    r'"a\"b"@c': r'"a\"b"@c',
    '""@c': '""@c',
    '"a@b"@c': '"a@b"@c',
    "@x,@y:a@b": "a@b",
    "a@[127.0.0.1]": "a@[127.0.0.1]",
    "a@[IPv6:2001:db8::1]": "a@[IPv6:2001:db8::1]",
    "a@[ipv6:::1]": "a@[ipv6:::1]",
    "a@my_host": "a@my_host",
    f"{'l' * 64}@b": f"{'l' * 64}@b",
    f"a@{DOMAIN}": f"a@{DOMAIN}",
}

INVALID = [
    "",
    "a",
    "@b",
    "a@",
    "a@b@c",
    "a b@c",
    "a..b@c",
    ".a@c",
    "a.@c",
    "a@b.",
    "a@.b",
    "a@b..c",
    "a@-b",
    "a@b-",
    "a@b c",
    "a@[127.0.0.256]",
    "a@[127.0.0.1",
    "a@[]",
    "a@[IPv6:1]",
    "a@[IPv6:::1",
    "a@[tag:x]",
    '"a@b',
    'a"b"@c',
    '"a"b@c',
    '"a\tb"@c',
    '"a\r\nb"@c',
    "a\0@b",
    "a\x7f@b",
    "a@b\n",
    "<a@b>",
    "a@b>",
    f"{'l' * 65}@b",
    f"a@{LABEL}d",
    f"{'l' * 64}@{DOMAIN}",
]


@pytest.mark.parametrize(("text", "canonical"), VALID.items())
def test_a_mailbox_has_one_canonical_form(text: str, canonical: str) -> None:
    assert parse_mailbox(text) == canonical
    assert parse_mailbox(canonical) == canonical


@pytest.mark.parametrize("text", INVALID)
def test_what_is_no_mailbox_is_an_error(text: str) -> None:
    with pytest.raises(AddressError):
        parse_mailbox(text)


def test_utf8_needs_to_be_announced() -> None:
    assert parse_mailbox("用户@例子.广告", utf8=True) == "用户@例子.广告"
    assert parse_mailbox('"ü"@x', utf8=True) == "ü@x"
    with pytest.raises(AddressError) as error:
        parse_mailbox("ü@x")
    assert error.value.needs_utf8
    for text in ("a\u2028b@x", "a\x85@x", "a\u202eb@x", "a@x\u00ad"):
        with pytest.raises(AddressError):
            parse_mailbox(text, utf8=True)


def test_limits_count_octets() -> None:
    assert parse_mailbox(f"{'ü' * 32}@x", utf8=True)
    with pytest.raises(AddressError):
        parse_mailbox(f"{'ü' * 33}@x", utf8=True)


def test_a_path_is_at_most_256_octets_with_its_brackets() -> None:
    domain = f"{DOMAIN}.{'d' * 60}"
    assert parse_mailbox(f"a@{domain}"[: 256 - 2])
    with pytest.raises(AddressError, match="256"):
        parse_mailbox(f"ab@{domain}d")


def test_a_domain_is_at_most_255_octets() -> None:
    with pytest.raises(AddressError, match="domain"):
        parse_mailbox(f"a@{DOMAIN}.{LABEL}d")


def test_a_local_part_alone_gets_the_default_domain() -> None:
    assert parse_mailbox("root", default_domain="example.org") == "root@example.org"
    assert parse_mailbox("root@x", default_domain="example.org") == "root@x"


def test_a_path_is_parted_from_its_parameters() -> None:
    assert split_path("<a@b> SIZE=1  BODY=7BIT ") == ("a@b", "SIZE=1  BODY=7BIT")
    assert split_path("<>") == ("", "")
    assert split_path('<"a>b"@c> X') == ('"a>b"@c', "X")
    for text in ("a@b", "<a@b", "<a@b>SIZE=1", "<<a@b>>", "", "<" + "a" * 255 + ">"):
        with pytest.raises(AddressError):
            split_path(text)
    assert split_path("<" + "a" * 254 + ">")


@given(st.text(max_size=40))
def test_whatever_gets_through_is_canonical_printable_and_short(text: str) -> None:
    try:
        address = parse_mailbox(text, utf8=True)
    except AddressError:
        return
    assert address.isprintable()
    assert len(address.encode()) <= 254
    assert parse_mailbox(address, utf8=True) == address
    assert all(split_mailbox(address))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_gives_back_what_it_was_made_of(text: str) -> None:
    encoded = encode_xtext(text)
    assert not set(encoded) & {" ", "="}
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize("text", ["a b", "a=b", "a+", "a+0", "a+0a", "a+0D", "a+0A", "a+7F", "a+00", "ü", "+E9"])
def test_what_is_no_xtext_or_hides_a_control_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="xtext"):
        decode_xtext(text)


def test_patterns_match_whole_addresses_in_any_case() -> None:
    assert Pattern("*@example.org").matches("A@Example.ORG")
    assert not Pattern("*@example.org").matches("a@example.org.evil")
    assert not Pattern("*@example.org").matches("a@exampleXorg")
    assert Pattern("root@*").matches("root@anything.at.all")
    assert not Pattern("root@*").matches("xroot@b")
    assert Pattern("*").matches("a@b")
    assert Pattern("a@*.example.*").matches("a@b.example.c")
    assert not Pattern("A@B").matches("a@bb")


def test_only_the_pattern_of_the_null_sender_matches_it() -> None:
    assert Pattern("<>").matches("")
    assert not Pattern("<>").matches("a@b")
    assert not Pattern("*").matches("")


@pytest.mark.parametrize("text", ["", "example.org", "root", "a*"])
def test_a_pattern_is_an_address_with_stars(text: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Pattern(text)


def test_patterns_are_values() -> None:
    assert Pattern("a@b") == Pattern("a@b") != Pattern("b@b")
    assert {Pattern("a@b"), Pattern("a@b")} == {Pattern("a@b")}
    assert repr(Pattern("a@b")) == "Pattern('a@b')"
    assert Pattern("a@b") != "a@b"
