"""TLS and AUTH towards the next hop: nothing goes out with less than the route demands."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from OpenSSL import SSL

from multid.mail import client_auth, client_tls
from multid.mail.reply import Reply
from multid.mail.route import Login
from multid.net.tls import ServerContext
from tests.certificates import Authority
from tests.loop import Loop
from tests.mail.hop import CLOSE, EXTENSIONS, Server
from tests.mail.test_outbound import Client, client, mail

__all__ = ["client"]

HOST = "127.0.0.1"
USER = Login("jos\u00e9", "p\u00e4ss word")
SECRET = b64encode("\0jos\u00e9\0p\u00e4ss word".encode()).decode()
WITH_TLS = (*EXTENSIONS, "STARTTLS")


def context(path: Any) -> ServerContext:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.use_certificate_chain_file(str(path))
    made.use_privatekey_file(str(path))
    return ServerContext(made)


@pytest.fixture
def authority(tmp_path: Any, monkeypatch: Any, loop: Loop) -> Iterator[Authority]:
    # Twisted's TLS schedules its writes on the process's reactor.
    monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: loop)
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    client_tls.forget()
    yield authority
    client_tls.forget()


@pytest.fixture
def good(authority: Authority) -> ServerContext:
    return context(authority.issue(HOST))


def heard(server: Server) -> str:
    return "\n".join(server.commands)


@pytest.mark.parametrize("tls", ["required", "opportunistic"])
def test_a_mail_goes_over_starttls(client: Client, good, tls):
    server = client.server(extensions=WITH_TLS, tls=good)
    connection = client.connect(server, tls=tls)
    assert client.deliver(connection, mail())[0].code == 250
    assert server.connections[0].is_secure
    assert connection.tls == "TLSv1.3"
    assert server.commands[:3] == ["EHLO me.test", "STARTTLS", "EHLO me.test"]


def test_a_mail_goes_over_implicit_tls(client: Client, good):
    server = client.server(tls=good, implicit=True)
    connection = client.connect(server, tls="implicit")
    assert client.deliver(connection, mail())[0].code == 250
    assert connection.tls == "TLSv1.3"


def test_with_tls_none_starttls_is_not_taken(client: Client, good):
    server = client.server(extensions=WITH_TLS, tls=good)
    assert client.send(server, mail())[0].code == 250
    assert "STARTTLS" not in server.commands


def test_the_extensions_of_before_tls_are_forgotten(client: Client, good):
    server = client.server(extensions=WITH_TLS, tls=good)
    server.answers["EHLO"] = lambda _: b"250 hop.test\r\n" if server.connections[0].is_secure else None
    assert client.connect(server, tls="required").extensions == {}


def bad_peers(authority: Authority, elsewhere: Authority) -> dict[str, ServerContext]:
    return {
        "another name": context(authority.issue("127.0.0.2")),
        "expired": context(authority.issue(HOST, days=-1)),
        "unknown authority": context(elsewhere.issue(HOST)),
    }


@pytest.fixture(params=["another name", "expired", "unknown authority"])
def bad(request: Any, authority: Authority, tmp_path: Any) -> ServerContext:
    (tmp_path / "else").mkdir()
    return bad_peers(authority, Authority(tmp_path / "else", "Somebody Else"))[request.param]


@pytest.mark.parametrize("implicit", [False, True])
def test_a_peer_that_does_not_prove_its_name_gets_nothing(client: Client, bad, implicit):
    server = client.server(extensions=(*WITH_TLS, "AUTH PLAIN"), tls=bad, implicit=implicit)
    reply = client.refused(server, USER, tls="implicit" if implicit else "required")
    assert (reply.is_transient, reply.enhanced) == (True, "4.7.5")
    assert "AUTH" not in heard(server)
    assert "MAIL" not in heard(server)


def test_a_peer_without_proof_does_for_opportunistic_tls(client: Client, bad):
    server = client.server(extensions=WITH_TLS, tls=bad)
    connection = client.connect(server, tls="opportunistic")
    assert client.deliver(connection, mail())[0].code == 250
    assert connection.tls == "TLSv1.3"


@pytest.mark.parametrize("tls", ["required"])
@pytest.mark.parametrize("answers", [{}, {"STARTTLS": b"454 4.7.0 Not now\r\n"}, {"STARTTLS": CLOSE}])
def test_without_the_tls_that_is_demanded_nothing_goes(client: Client, answers, tls):
    server = client.server(extensions=WITH_TLS if answers else EXTENSIONS, answers=answers)
    assert client.refused(server, tls=tls).is_transient
    assert "MAIL" not in heard(server)


@pytest.mark.parametrize("answers", [{}, {"STARTTLS": b"454 4.7.0 Not now\r\n"}])
def test_opportunistic_tls_is_left_out_where_it_does_not_work(client: Client, answers):
    server = client.server(extensions=WITH_TLS if answers else EXTENSIONS, answers=answers)
    assert client.deliver(client.connect(server, tls="opportunistic"), mail())[0].code == 250
    assert server.mails


def test_tls_that_fails_costs_an_opportunistic_route_one_more_connection(client: Client, authority):
    without_certificate = ServerContext(SSL.Context(SSL.TLS_SERVER_METHOD))
    server = client.server(extensions=WITH_TLS, tls=without_certificate)
    connection = client.connect(server, tls="opportunistic")
    assert client.deliver(connection, mail())[0].code == 250
    assert (connection.tls, server.total) == ("", 2)


GLUED = [b"250-hop.test\r\n250 AUTH PLAIN\r\n", b"250 Ok\r\n", b"2", b"\r\n"]


@pytest.mark.parametrize("glued", GLUED)
@pytest.mark.parametrize("tls", ["required", "opportunistic"])
def test_replies_behind_the_220_of_starttls_are_not_taken(client: Client, good, glued, tls):
    server = client.server(extensions=WITH_TLS, tls=good, answers={"STARTTLS": b"220 Go\r\n" + glued})
    assert client.refused(server, tls=tls).enhanced == "4.4.2"
    assert server.commands == ["EHLO me.test", "STARTTLS"]


@pytest.mark.parametrize("offered", ["AUTH PLAIN LOGIN CRAM-MD5", "AUTH=PLAIN", "auth plain"])
def test_plain_is_first_under_tls(client: Client, good, offered):
    server = client.server(extensions=(*WITH_TLS, offered.replace("AUTH=", "AUTH ")), tls=good)
    connection = client.connect(server, USER, tls="required")
    assert client.deliver(connection, mail())[0].code == 250
    assert f"AUTH PLAIN {SECRET}" in server.commands


def challenge(server: Server, *texts: str) -> None:
    """Answer AUTH, and each response, with the next challenge."""
    left = list(texts)

    def answer(_: str) -> bytes | None:
        if not left:
            return None
        server.connections[-1].challenged = True
        return f"334 {left.pop(0)}\r\n".encode()

    server.answers |= {"AUTH": answer, "RESPONSE": answer}


def test_login(client: Client, good):
    server = client.server(extensions=(*WITH_TLS, "AUTH LOGIN"), tls=good)
    challenge(server, "VXNlcm5hbWU6", "UGFzc3dvcmQ6")
    assert client.deliver(client.connect(server, USER, tls="required"), mail())[0].code == 250
    index = server.commands.index("AUTH LOGIN")
    assert [b64decode(word).decode() for word in server.commands[index + 1 : index + 3]] == [USER.user, USER.password]


def test_cram_md5_is_first_in_the_clear(client: Client):
    server = client.server(extensions=("AUTH PLAIN LOGIN CRAM-MD5",))
    challenge(server, b64encode(b"<1@hop.test>").decode())
    assert client.deliver(client.connect(server, USER, tls="none"), mail())[0].code == 250
    response = b64decode(server.commands[2]).decode()
    digest = hmac.new(USER.password.encode(), b"<1@hop.test>", hashlib.md5).hexdigest()
    assert response == f"{USER.user} {digest}"


def test_a_password_goes_in_the_clear_only_where_the_route_says_tls_none(client: Client):
    server = client.server(extensions=("AUTH PLAIN",))
    assert client.deliver(client.connect(server, USER, tls="none"), mail())[0].code == 250
    assert f"AUTH PLAIN {SECRET}" in server.commands


def test_an_opportunistic_connection_never_carries_a_password(client: Client, good):
    server = client.server(extensions=(*WITH_TLS, "AUTH PLAIN"), tls=good)
    assert client.refused(server, USER, tls="opportunistic").enhanced == "4.7.4"
    assert "AUTH" not in heard(server)


@pytest.mark.parametrize("extensions", [EXTENSIONS, (*EXTENSIONS, "AUTH GSSAPI")])
def test_without_auth_no_mail_where_the_route_has_a_login(client: Client, extensions):
    server = client.server(extensions=extensions)
    assert client.refused(server, USER, tls="none").is_transient
    assert "MAIL" not in heard(server)


@pytest.mark.parametrize("code", [b"535 5.7.8 No", b"454 4.7.0 Later", b"504 5.5.4 Unknown"])
def test_a_login_that_is_refused_is_no_fault_of_a_mail(client: Client, code):
    server = client.server(extensions=("AUTH PLAIN",), answers={"AUTH": code + b"\r\n"})
    assert client.refused(server, USER, tls="none").is_transient
    assert "MAIL" not in heard(server)


def test_endless_challenges_are_ended(client: Client):
    server = client.server(extensions=("AUTH LOGIN",))
    challenge(server, *["eA=="] * 100)
    assert "never ends" in client.refused(server, USER, tls="none").text
    assert len(server.commands) < 6


def test_a_challenge_that_is_no_base64(client: Client):
    server = client.server(extensions=("AUTH CRAM-MD5",))
    challenge(server, "!!")
    assert client.refused(server, USER, tls="none").is_transient


@pytest.mark.parametrize("secret", [USER.password, SECRET, b64encode(USER.password.encode()).decode()])
def test_what_a_hop_repeats_of_a_secret_is_in_no_error(client: Client, secret):
    answer = f"535 5.7.8 You said {secret}\r\n".encode()
    server = client.server(extensions=("AUTH PLAIN",), answers={"AUTH": answer})
    assert secret not in client.refused(server, USER, tls="none").text


def test_a_login_shows_no_password():
    assert USER.password not in repr(USER)


def test_an_empty_password_hides_nothing():
    reply = Reply(535, "5.7.8", "No")
    assert client_auth.without_secrets(reply, Login("u", "")) == reply


def test_unverified_tls_names_no_address():
    assert client_tls.Unverified("::1")._name == b""
    assert client_tls.Unverified("hop.test")._name == b"hop.test"
