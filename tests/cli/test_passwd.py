"""`multid passwd` makes a line that AUTH reads."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from multid.cli.passwd import command
from multid.mail.auth import Users
from multid.mail.sasl import Credentials


def test_a_line_is_made_of_what_is_piped_in(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["joe", "--cost", "4"], input="sécret\nignored\n")
    assert result.exit_code == 0
    path = tmp_path / "users"
    path.write_text(result.output)
    assert Users(path).is_right(Credentials("joe", "sécret".encode()))


def test_a_terminal_is_asked_twice_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multid.cli.passwd._is_terminal", lambda: True)
    result = CliRunner().invoke(command, ["joe", "--cost", "4"], input="o-n-e\ntwo\no-n-e\no-n-e\n")
    assert result.exit_code == 0
    assert result.output.count("Password:") == 2
    assert "o-n-e" not in result.output  # which no hash can hold by chance
    assert result.output.splitlines()[-1].startswith("joe:$2b$04$")


@pytest.mark.parametrize("user", ["", "a:b", "a\nb"])
def test_a_user_name_that_the_file_cannot_hold_is_wrong_usage(user: str) -> None:
    assert CliRunner().invoke(command, [user], input="x\n").exit_code == 2


@pytest.mark.parametrize(("password", "code"), [("x" * 72, 0), ("x" * 73, 1), ("", 1), ("a\0b", 1)])
def test_a_password_is_what_bcrypt_sees_as_a_whole(password: str, code: int) -> None:
    assert CliRunner().invoke(command, ["joe", "--cost", "4"], input=password + "\n").exit_code == code
