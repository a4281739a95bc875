"""The keys of an smtp stanza: what is let in, what is said of what is not, what the relay gets of it."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from multid.mail.address import Pattern
from multid.mail.retry import RetryPolicy
from multid.mail.rewrite import RecipientRule, SenderRule
from multid.mail.route import Hop, Login
from multid.services._smtp_config import SmtpConfig, machine_name

TLS = {"certificate": "x.pem"}


def config(**keys: Any) -> SmtpConfig:
    keys.setdefault("listen", "tcp:0")
    return SmtpConfig.model_validate({"type": "smtp", **keys})


def complaint(**keys: Any) -> str:
    with pytest.raises(ValidationError) as error:
        config(**keys)
    return str(error.value)


def test_the_stanza_of_the_contract_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    read = config(
        hostname="mail.example.org",
        networks=["127.0.0.0/8", "::1/128"],
        senders=["*@example.org", "<>"],
        tls=TLS,
        auth={"users": "/etc/multid/users", "require_tls": True},
        starttls="required",
        limits={"size": "25MiB", "recipients": "100", "errors": 10, "connections": 1024, "per_peer": 64},
        bare_newline="reject",
        headers={"date": "add", "message_id": "keep", "from": "add", "domain": "example.org"},
        rewrite=[
            {"sender": "root@*", "to": "alerts@example.org"},
            {"recipient": "root@*", "to": ["admin@example.org"]},
        ],
        routes=[
            {"recipient": "*@lan.example", "via": "smtp://10.0.0.5:25"},
            {
                "sender": "*@shop.example",
                "via": ["smtps://mx.a.example:465", "smtp://mx.b.example"],
                "auth": {"user": "u", "password": {"file": str(tmp_path / "pw")}},
                "rate": "14/s",
                "connections": 4,
            },
            {"via": "mx", "tls": "opportunistic"},
        ],
        retry={"schedule": ["1m", "2m"], "jitter": "0.2", "warn": "4h", "expire": "4d"},
        bounces={"postmaster": "admin@example.org", "per_sender": "20/h"},
        mode="relay",
        queue={"path": "var/mail", "inline": "128KiB", "minimum_free": "64MiB"},
    )
    inbound = read.inbound()
    assert (inbound.hostname, inbound.domain, inbound.postmaster) == (
        "mail.example.org",
        "example.org",
        "admin@example.org",
    )
    assert inbound.senders == (Pattern("*@example.org"), Pattern("<>"))
    assert (inbound.starttls, inbound.auth, inbound.bare_newline) == ("required", "tls", "reject")
    assert (inbound.completion.date, inbound.completion.message_id, inbound.completion.from_) == (True, False, True)
    assert inbound.rewriting.senders == (SenderRule(Pattern("root@*"), "alerts@example.org"),)
    assert inbound.rewriting.recipients == (RecipientRule(Pattern("root@*"), ("admin@example.org",)),)
    assert read.retry_policy() == RetryPolicy((60.0, 120.0), 0.2, 14400.0, 345600.0)
    lan, shop, direct = read.route_table()
    assert lan.hops == (Hop("10.0.0.5", 25, "opportunistic"),)
    assert shop.hops == (Hop("mx.a.example", 465, "implicit"), Hop("mx.b.example", 25, "required"))
    assert (shop.login, shop.rate, shop.connections) == (Login("u", "secret"), 14.0, 4)
    assert direct.hops == ()


def test_everything_has_a_default() -> None:
    read = config()
    inbound = read.inbound()
    assert inbound.hostname == inbound.domain == machine_name()
    assert inbound.postmaster == f"postmaster@{machine_name()}"
    assert (inbound.starttls, inbound.auth, inbound.max_size, inbound.max_recipients) == ("off", "off", 25 << 20, 100)
    assert [str(network) for network in read.networks] == ["127.0.0.0/8", "::1/128"]
    assert (read.mode, read.route_table(), read.retry_policy()) == ("relay", (), RetryPolicy())


def test_starttls_is_offered_where_there_is_a_certificate() -> None:
    assert config(tls=TLS).inbound().starttls == "optional"
    assert config(tls=TLS, starttls="off").inbound().starttls == "off"


def test_auth_without_tls_is_said_in_so_many_words() -> None:
    assert "needs 'tls'" in complaint(auth={"users": "u"})
    assert config(auth={"users": "u", "require_tls": False}).inbound().auth == "plain"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"starttls": "required"}, "needs 'tls'"),
        ({"networks": ["0.0.0.0/0"]}, "open relay"),
        ({"networks": ["::/0"]}, "open relay"),
        ({"listen": "udp:25"}, "not in datagrams"),
        ({"senders": ["example.org"]}, "an address pattern is written"),
        ({"hostname": "two words"}, "the domain is not valid"),
        ({"rewrite": [{"to": "a@b"}]}, "either 'sender' or 'recipient'"),
        ({"rewrite": [{"sender": "*", "recipient": "*", "to": "a@b"}]}, "either 'sender' or 'recipient'"),
        ({"rewrite": [{"sender": "*", "to": ["a@b", "c@d"]}]}, "rewritten to one address"),
        ({"rewrite": [{"sender": "*", "to": "nobody"}]}, "the domain is missing"),
        ({"routes": [{"via": "10.0.0.5"}]}, "a next hop is written smtp://HOST:PORT"),
        ({"routes": [{"via": ["mx", "smtp://a"]}]}, "smtp://HOST:PORT"),
        ({"routes": [{"via": "mx", "auth": {"user": "u", "password": {"env": "X"}}}]}, "without auth"),
        ({"retry": {"schedule": []}}, "at least 1 item"),
        ({"retry": {"schedule": ["0s"]}}, "greater than 0"),
        ({"mode": "send"}, "'relay', 'hold' or 'capture'"),
        ({"bounces": {"postmaster": "admin"}}, "the domain is missing"),
        ({"headers": {"from": "yes"}}, "'add' or 'keep'"),
        ({"queu": {}}, "not permitted"),
    ],
)
def test_a_mistake_is_told(keys: dict[str, Any], said: str) -> None:
    assert said in complaint(**keys)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ({"file": "/nowhere"}, "/nowhere: No such file or directory"),
        ({"env": "MULTID_NOWHERE"}, "the environment has no MULTID_NOWHERE"),
    ],
)
def test_a_password_that_cannot_be_read_names_the_route_and_why(password: dict[str, str], why: str) -> None:
    read = config(routes=[{"via": "smtp://a", "auth": {"user": "u", "password": password}}])
    with pytest.raises(ValueError, match=f"route 1: the password cannot be read: {why}"):
        read.route_table()


def test_of_a_password_that_is_no_text_nothing_is_told_but_that(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes(b"hunter2\xff")
    read = config(routes=[{"via": "smtp://a", "auth": {"user": "u", "password": {"file": tmp_path / "pw"}}}])
    with pytest.raises(ValueError, match=r"read: UnicodeDecodeError$"):
        read.route_table()


def test_passwords_stand_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "MULTID_TEST_PASSWORD", "hunter2")
    read = config(routes=[{"via": "smtp://a", "auth": {"user": "u", "password": {"env": "MULTID_TEST_PASSWORD"}}}])
    assert read.route_table()[0].login == Login("u", "hunter2")
    assert "hunter2" not in repr(read) + read.model_dump_json() + repr(read.route_table())


@pytest.mark.parametrize(
    ("name", "full", "used"),
    [
        ("a.example.org", "not asked for", "a.example.org"),
        ("a", "a.example.org", "a.example.org"),
        ("a", "a", "a"),
        ("a", "localhost", "a"),
        ("a", "localhost.localdomain", "a"),
        ("my host (1)", "my host (1)", "localhost"),
    ],
)
def test_the_machine_s_name_is_used_where_a_greeting_can_hold_it(
    monkeypatch: pytest.MonkeyPatch, name: str, full: str, used: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(socket, "getfqdn", lambda _: full)
    assert machine_name.__wrapped__() == used


def test_equal_stanzas_are_equal() -> None:
    keys: dict[str, Any] = {"senders": ["*@b"], "routes": [{"sender": "*@a", "via": "smtp://x"}]}
    assert config(**keys) == config(**keys)
    assert config(**keys) != config(**keys | {"senders": ["*@c"]})
