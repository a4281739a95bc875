"""AUTH: right passwords only, the file as it is now, nothing to learn from time, guessing slowed down."""

import os
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from multid.mail import auth
from multid.mail.auth import (
    BAD_CREDENTIALS,
    CANNOT_TELL,
    FAILURES,
    FORGIVEN,
    MAX_PEERS,
    TOO_MANY_FAILURES,
    WELCOME,
    Authenticator,
    Failures,
    Users,
    read_users,
)
from multid.mail.sasl import MECHANISMS, Credentials, decode, encode
from tests.loop import Loop


def line(user: str, password: bytes) -> str:
    return f"{user}:{bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text("# users\n\n" + line("joe", b"secret") + line("ünser", "sécret".encode()))
    return path


def test_users_and_their_passwords_are_known(path: Path) -> None:
    users = Users(path)
    assert users.is_right(Credentials("joe", b"secret"))
    assert users.is_right(Credentials("ünser", "sécret".encode()))
    for user, password in (("joe", b"Secret"), ("joe", b"secret2"), ("Joe", b"secret"), ("nobody", b"secret")):
        assert not users.is_right(Credentials(user, password))


def test_a_password_beyond_what_bcrypt_sees_or_with_nul_is_no_fault(path: Path) -> None:
    path.write_text(line("joe", b"x" * 72))
    users = Users(path)
    assert users.is_right(Credentials("joe", b"x" * 72))
    assert users.is_right(Credentials("joe", b"x" * 100))
    assert not users.is_right(Credentials("joe", b"a\0b"))


def test_an_unknown_user_costs_a_hash_of_the_same_cost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users(path)
    asked: list[bytes] = []

    def checkpw(_password: bytes, hashed: bytes) -> bool:
        asked.append(hashed)
        return True

    monkeypatch.setattr(auth.bcrypt, "checkpw", checkpw)
    assert not users.is_right(Credentials("nobody", b"x"))
    assert users.is_right(Credentials("joe", b"x"))
    assert asked[0][:7] == asked[1][:7] == b"$2b$04$"


def test_what_stands_for_an_unknown_user_is_a_hash() -> None:
    Path(path := os.devnull)
    assert not Users(Path(path)).is_right(Credentials("nobody", b"x"))


def test_the_file_is_read_again_when_it_changes(path: Path) -> None:
    users = Users(path)
    path.write_text(line("joe", b"changed"))
    assert users.is_right(Credentials("joe", b"changed"))
    path.unlink()
    with pytest.raises(OSError, match="users"):
        users.is_right(Credentials("joe", b"changed"))


@pytest.mark.parametrize(
    "text", ["joe", "joe:secret", "joe:{SHA}x", ":$2b$04$" + "x" * 53, "joe:$2b$04$short", "joe:$1$x"]
)
def test_a_line_that_is_none_is_named_without_its_hash(path: Path, text: str) -> None:
    path.write_text(line("a", b"b") + text + "\n")
    with pytest.raises(ValueError, match=":2: ") as error:
        read_users(path)
    assert text.partition(":")[2][:6] not in str(error.value) or ":" not in text


def test_failures_of_a_peer_are_forgiven_one_by_one() -> None:
    failures = Failures()
    failures.add("a", 0.0)
    failures.add("a", 0.0)
    assert failures.count("a", 0.0) == 2
    assert failures.count("a", FORGIVEN) == 1
    assert failures.count("a", 10 * FORGIVEN) == 0
    assert failures.count("b", 0.0) == 0


def test_only_so_many_peers_are_remembered() -> None:
    failures = Failures()
    for number in range(MAX_PEERS + 1):
        failures.add(str(number), 0.0)
    assert failures.count("0", 0.0) == 0
    assert failures.count("1", 0.0) == 1


class Thread:
    """A pool that works at once."""

    started = True

    def callInThreadWithCallback(self, done: Any, work: Any, *arguments: Any) -> None:
        try:
            result, success = work(*arguments), True
        except Exception as error:
            from twisted.python.failure import Failure

            result, success = Failure(error), False
        done(success, result)


class Reactor(Clock):
    def callFromThread(self, function: Any, *arguments: Any, **keywords: Any) -> None:
        function(*arguments, **keywords)


def asked(authenticator: Authenticator, password: bytes, host: str = "192.0.2.1") -> Any:
    results: list[Any] = []
    authenticator.verify(Credentials("joe", password), host).addCallback(results.append)
    return results[0]


def test_the_reply_says_whether_one_is_in(path: Path) -> None:
    authenticator = Authenticator(Reactor(), Thread(), Users(path), Failures())  # type: ignore[arg-type]
    assert asked(authenticator, b"secret") == WELCOME
    assert asked(authenticator, b"wrong") == BAD_CREDENTIALS


def test_a_file_that_cannot_be_read_turns_nobody_away_for_good(path: Path, logged: list[dict[str, Any]]) -> None:
    authenticator = Authenticator(Reactor(), Thread(), Users(path), Failures())  # type: ignore[arg-type]
    path.unlink()
    assert asked(authenticator, b"secret") == CANNOT_TELL
    assert logged[-1]["log_level"].name == "error"


@pytest.mark.parametrize(
    ("same", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")], ids=["ipv4", "ipv6"]
)
def test_guessing_is_slowed_down_for_the_peer_that_guesses(path: Path, same: str, other: str) -> None:
    reactor = Reactor()
    authenticator = Authenticator(reactor, Thread(), Users(path), Failures())  # type: ignore[arg-type]
    for _ in range(FAILURES):
        assert asked(authenticator, b"wrong", same) == BAD_CREDENTIALS
    neighbour = "2001:db8::2" if ":" in same else same
    assert asked(authenticator, b"secret", neighbour) == TOO_MANY_FAILURES
    assert asked(authenticator, b"secret", other) == WELCOME
    reactor.advance(FORGIVEN)
    assert asked(authenticator, b"secret", same) == WELCOME


def test_passwords_are_verified_in_another_thread(loop: Loop, path: Path) -> None:
    pool = ThreadPool(0, 1, "test")
    pool.start()
    authenticator = Authenticator(loop, pool, Users(path), Failures())
    assert loop.result(authenticator.verify(Credentials("joe", b"secret"), "192.0.2.1")) == WELCOME
    pool.stop()


def test_no_log_holds_a_password(path: Path, logged: list[dict[str, Any]]) -> None:
    authenticator = Authenticator(Reactor(), Thread(), Users(path), Failures())  # type: ignore[arg-type]
    asked(authenticator, b"hunter2")
    assert "hunter2" not in repr(logged)
    assert "hunter2" not in repr(Credentials("joe", b"hunter2"))


def exchange(mechanism: str, *responses: bytes) -> Credentials | list[bytes]:
    steps = MECHANISMS[mechanism]()
    challenges = [next(steps)]
    for response in responses:
        try:
            challenges.append(steps.send(response))
        except StopIteration as finished:
            credentials: Credentials = finished.value
            return credentials
    return challenges


def test_mechanisms_end_with_credentials() -> None:
    assert exchange("PLAIN", b"\0joe\0secret") == Credentials("joe", b"secret")
    assert exchange("PLAIN", b"joe\0joe\0secret") == Credentials("joe", b"secret")
    assert exchange("LOGIN", b"joe", b"secret") == Credentials("joe", b"secret")
    assert exchange("LOGIN", b"joe") == [b"Username:", b"Password:"]


@pytest.mark.parametrize(
    "response", [b"", b"joe", b"\0joe", b"\0joe\0", b"\0\0x", b"\0a\0b\0c", b"x\0joe\0s", b"\0\xff\0s", b"\0a\nb\0s"]
)
def test_a_broken_response_is_an_error(response: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        exchange("PLAIN", response)


def test_base64_is_strict() -> None:
    assert decode("am9l") == b"joe"
    assert encode(b"joe") == "am9l"
    for text in ("am9", "am9l!", "=", "é", "am 9l"):
        with pytest.raises(ValueError):  # noqa: PT011
            decode(text)
