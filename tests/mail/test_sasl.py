"""Logging in, both halves against each other: what one says the other understands, and nothing else lets anybody in."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail import client_auth, sasl
from multid.mail.reply import Reply
from multid.mail.route import Login

USERS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80)
LOGINS = st.builds(Login, USERS, PASSWORDS)


def conversation(mechanism: str, login: Login) -> sasl.Credentials:
    """Let our client log in at our server, and return what the server has understood."""
    client, server = client_auth.steps(mechanism, login), sasl.MECHANISMS[mechanism]()
    _auth, name, *initial = next(client).split(" ")
    assert name == mechanism
    challenge = next(server)
    response = initial[0] if initial else client.send(sasl.encode(challenge))
    try:
        while True:
            challenge = server.send(sasl.decode(response))
            response = client.send(sasl.encode(challenge))
    except StopIteration as finished:
        credentials: sasl.Credentials = finished.value
        return credentials


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
@given(login=LOGINS)
def test_the_server_understands_whom_the_client_says(mechanism: str, login: Login) -> None:
    assert conversation(mechanism, login) == sasl.Credentials(login.user, login.password.encode())


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
@given(responses=st.lists(st.binary(max_size=40), min_size=2, max_size=2))
def test_any_responses_end_in_a_user_with_a_password_or_in_an_error(mechanism: str, responses: list[bytes]) -> None:
    found = answered(mechanism, responses)
    if found is not None:
        assert found.user
        assert found.user.isprintable()
        assert found.password
        assert found.password in b"\0".join(responses)
        assert repr(found) == f"Credentials(user={found.user!r})"


def answered(mechanism: str, responses: list[bytes]) -> sasl.Credentials | None:
    """Return whom the server has understood, None for an error; it must have ended."""
    server = sasl.MECHANISMS[mechanism]()
    next(server)
    try:
        for response in responses:
            server.send(response)
    except StopIteration as finished:
        credentials: sasl.Credentials = finished.value
        return credentials
    except ValueError:
        return None
    raise AssertionError("the exchange goes on")


@given(LOGINS, st.binary(max_size=60))
def test_a_challenge_is_answered_by_its_digest(login: Login, challenge: bytes) -> None:
    client = client_auth.steps("CRAM-MD5", login)
    assert next(client) == "AUTH CRAM-MD5"
    answer = base64.b64decode(client.send(base64.b64encode(challenge).decode())).decode()
    digest = hmac.new(login.password.encode(), challenge, hashlib.md5).hexdigest()
    assert answer == f"{login.user} {digest}"


@given(st.text(max_size=40))
def test_a_challenge_that_is_no_base64_is_an_error(text: str) -> None:
    client = client_auth.steps("CRAM-MD5", Login("joe", "secret"))
    next(client)
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            client.send(text)
    else:
        client.send(text)


@given(st.text(), st.booleans())
def test_nothing_is_spoken_that_was_not_offered(offered: str, is_secret: bool) -> None:
    names = client_auth.mechanisms(offered, is_secret=is_secret)
    assert set(names) <= set(offered.upper().replace("=", " ").split())


@given(LOGINS.filter(lambda login: "*" not in login.password), st.text(max_size=20), st.text(max_size=20))
def test_a_reply_that_repeats_a_secret_is_told_without_it(login: Login, before: str, after: str) -> None:
    secrets = [login.password, base64.b64encode(login.password.encode()).decode()]
    for secret in secrets:
        told = client_auth.without_secrets(Reply(535, "5.7.8", before + secret + after), login)
        assert login.password not in told.text
        assert secrets[1] not in told.text
