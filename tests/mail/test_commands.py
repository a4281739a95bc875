"""Parameters on both sides of their limits; the rest of their grammar is in the dialogues."""

import pytest

from multid.mail.commands import CommandError, parse_bdat, parse_greeting, parse_mail, parse_rcpt
from multid.mail.interface import SpoolError
from multid.mail.reply import NO_ROOM


def refusal(text: str) -> int:
    with pytest.raises(CommandError) as error:
        parse_mail(text, "example.org")
    return error.value.reply.code


def test_an_envid_is_at_most_100_characters() -> None:
    assert parse_mail(f"FROM:<a@b> ENVID={'+2B' * 100}", "").envid == "+" * 100
    assert refusal(f"FROM:<a@b> ENVID={'x' * 101}") == 501


def test_an_orcpt_is_at_most_500_characters() -> None:
    def parse(size: int) -> str | None:
        return parse_rcpt(f"TO:<a@b> ORCPT=rfc822;{'x' * size}", "", utf8=False, postmaster="").orcpt

    assert parse(500) == "rfc822;" + "x" * 500
    with pytest.raises(CommandError):
        parse(501)


def test_a_size_has_at_most_20_digits() -> None:
    assert parse_mail(f"FROM:<a@b> SIZE={'9' * 20}", "").size == int("9" * 20)
    assert refusal(f"FROM:<a@b> SIZE={'9' * 21}") == 501


def test_a_greeting_is_at_most_255_characters() -> None:
    assert parse_greeting("x" * 255)
    with pytest.raises(CommandError):
        parse_greeting("x" * 256)


def test_a_chunk_has_at_most_19_digits() -> None:
    assert parse_bdat("9" * 19) == (int("9" * 19), False)
    with pytest.raises(CommandError):
        parse_bdat("9" * 20)


def test_a_flag_that_names_the_wrong_path_is_refused() -> None:
    assert refusal("TO:<a@b>") == 501
    assert refusal("FROM:") == 501


def test_an_error_of_the_spool_knows_whether_it_passes() -> None:
    assert SpoolError("full", NO_ROOM).is_transient
    assert SpoolError("broken").is_transient
