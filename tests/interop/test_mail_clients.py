"""Real clients hand in mail: in clear, with STARTTLS and in TLS from the start, without AUTH and with each mechanism.

The daemon runs as a user runs it, and holds the mail; what lies in its queue must be what the client was given.
"""

import email
import email.policy
import signal
import smtplib
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.certificates import Authority
from tests.process import Multid
from tests.programs import need

WAYS = ["plain", "starttls", "implicit"]
MECHANISMS = ["none", "PLAIN", "LOGIN"]
BODY = "Hello, 你好\n.\n..dots\n From here\n"


class Relay:
    """A running daemon: services `open` trust loopback, `closed` do not but know a user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self._certificate = str(self.authority.issue("localhost"))
        (folder / "users").write_text(f"joe:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
        services = {
            f"{kind}-{transport}": self._stanza(kind, transport)
            for kind in ("open", "closed")
            for transport in ("tcp", "ssl")
        }
        self.daemon = Multid(folder, {"state_dir": str(folder / "var"), "services": services})

    def _stanza(self, kind: str, transport: str) -> dict[str, Any]:
        return {
            "type": "smtp",
            "hostname": "mail.example.org",
            "listen": f"{transport}:0:interface=127.0.0.1",
            "tls": {"certificate": self._certificate},
            "mode": "hold",
            "limits": {"errors": 100, "per_peer": 1000},
            "queue": {"path": str(self.folder / f"{kind}-{transport}"), "inline": "64KiB"},
            "networks": ["127.0.0.0/8"] if kind == "open" else ["127.0.0.2/32"],
            "auth": {"users": str(self.folder / "users"), "require_tls": False},
        }

    def port(self, service: str) -> int:
        return self.daemon.port(service)

    def mails(self, service: str) -> list[tuple[str, str, bytes]]:
        """Return sender, first recipient and content of each mail in a queue, oldest first."""
        rows = "SELECT sender, address, content FROM mail JOIN recipient ON mail = number AND place = 0 ORDER BY number"
        database = sqlite3.connect(self.folder / service / "spool.db")
        found = database.execute(rows).fetchall()
        database.close()
        return [(sender, address, content or self._file(service)) for sender, address, content in found]

    def _file(self, service: str) -> bytes:
        [path] = (self.folder / service / "content").iterdir()
        return path.read_bytes()

    def last(self, service: str) -> tuple[str, str, bytes]:
        return self.mails(service)[-1]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    relay = Relay(tmp_path_factory.mktemp("relay"))
    relay.port("closed-ssl")
    yield relay
    assert relay.daemon.stop() == -signal.SIGTERM
    relay.daemon.process.stdout.close()  # type: ignore[union-attr]
    for secret in ("secret", "c2VjcmV0", "AGpvZQBzZWNyZXQ="):
        assert secret not in relay.daemon.log, "a password is in the log"


def run(*command: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)


def service_for(mechanism: str, way: str) -> str:
    return ("open" if mechanism == "none" else "closed") + ("-ssl" if way == "implicit" else "-tcp")


def text_mail(subject: str = "Grüße aus Köln") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Jörg <joerg@example.org>"
    message["To"] = "bob@example.net"
    message["Subject"] = subject
    message.set_content(BODY)
    return message


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    text: str = message.get_content()
    return text.replace("\r\n", "\n")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def smtplib_client(relay: Relay, way: str, mechanism: str) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=str(relay.authority.file))
    port = relay.port(service_for(mechanism, way))
    if way == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", port, context=context, timeout=20)
    else:
        client = smtplib.SMTP("localhost", port, timeout=20)
    if way == "starttls":
        client.starttls(context=context)
    client.ehlo("client.example.org")
    if mechanism != "none":
        client.user, client.password = "joe", "secret"
        client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
    return client


def test_smtplib(relay: Relay, way: str, mechanism: str) -> None:
    with smtplib_client(relay, way, mechanism) as client:
        client.send_message(text_mail())
    sender, recipient, content = relay.last(service_for(mechanism, way))
    assert (sender, recipient) == ("joerg@example.org", "bob@example.net")
    message = parsed(content)
    assert message["Subject"] == "Grüße aus Köln"
    assert message["From"] == "Jörg <joerg@example.org>"
    assert text_of(message) == BODY
    protocol = "ESMTP" + "S" * (way != "plain") + "A" * (mechanism != "none")
    assert f" with {protocol} id " in message["Received"].replace("\t", " ")
    assert "Message-ID" in message
    assert "Date" in message


def test_smtplib_with_a_spreadsheet_attached(relay: Relay) -> None:
    sheet = bytes(range(256)) * 400
    message = text_mail("Report")
    message.add_attachment(
        sheet,
        maintype="application",
        subtype="vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        filename="Übersicht.xlsx",
    )
    with smtplib_client(relay, "starttls", "LOGIN") as client:
        client.send_message(message)
    [attachment] = parsed(relay.last("closed-tcp")[2]).iter_attachments()
    assert attachment.get_filename() == "Übersicht.xlsx"
    assert attachment.get_content() == sheet


def test_smtplib_with_international_addresses(relay: Relay) -> None:
    message = text_mail()
    message.replace_header("From", "jörg@bücher.example")
    with smtplib_client(relay, "plain", "none") as client:
        client.send_message(message, to_addrs=["用户@例子.广告"])
    assert relay.last("open-tcp")[:2] == ("jörg@bücher.example", "用户@例子.广告")


def test_smtplib_without_auth_is_refused(relay: Relay) -> None:
    client = smtplib.SMTP("localhost", relay.port("closed-tcp"), timeout=20)
    with client, pytest.raises(smtplib.SMTPSenderRefused) as error:
        client.send_message(text_mail())
    assert error.value.smtp_code == 530


def test_smtplib_with_a_wrong_password_is_refused(relay: Relay) -> None:
    client = smtplib.SMTP("localhost", relay.port("closed-tcp"), timeout=20)
    with client, pytest.raises(smtplib.SMTPAuthenticationError) as error:
        client.login("joe", "wrong")
    assert error.value.smtp_code == 535


def test_swaks(relay: Relay, way: str, mechanism: str) -> None:
    swaks = need("swaks")
    tls = {"plain": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[way]
    auth = [] if mechanism == "none" else ["--auth", mechanism, "--auth-user", "joe", "--auth-password", "secret"]
    port = str(relay.port(service_for(mechanism, way)))
    result = run(
        swaks, "--server", "127.0.0.1", "--port", port, "--from", "a@example.org", "--to", "bob@example.net",
        "--header", "Subject: swaks", "--body", ".dot\n..", *tls, *auth,
        *(["--pipeline"] if mechanism == "none" else []),
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    message = parsed(relay.last(service_for(mechanism, way))[2])
    assert message["Subject"] == "swaks"
    assert text_of(message).startswith(".dot\n..\n")


def test_msmtp(relay: Relay, way: str, mechanism: str) -> None:
    msmtp = need("msmtp")
    tls = {"plain": ["--tls=off"], "starttls": ["--tls=on"], "implicit": ["--tls=on", "--tls-starttls=off"]}[way]
    auth = []
    if mechanism != "none":
        auth = [f"--auth={mechanism.lower()}", "--user=joe", "--passwordeval=echo secret"]
    result = run(
        msmtp, "--file=/dev/null", "--host=localhost", f"--port={relay.port(service_for(mechanism, way))}",
        f"--tls-trust-file={relay.authority.file}", "--from=a@example.org", "--domain=client", *tls, *auth,
        "--dsn-notify=failure,delay", "bob@example.net", text="Subject: msmtp\n\n.dot\n..\n",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    message = parsed(relay.last(service_for(mechanism, way))[2])
    assert message["Subject"] == "msmtp"
    assert text_of(message) == ".dot\n..\n"


def test_curl(relay: Relay, way: str, mechanism: str) -> None:
    curl = need("curl")
    scheme = "smtps" if way == "implicit" else "smtp"
    tls = ["--ssl-reqd"] if way == "starttls" else []
    auth = [] if mechanism == "none" else ["--user", "joe:secret", "--login-options", f"AUTH={mechanism}"]
    result = run(
        curl, "--silent", "--show-error", f"{scheme}://localhost:{relay.port(service_for(mechanism, way))}/client",
        "--cacert", relay.authority.file, "--mail-from", "a@example.org", "--mail-rcpt", "bob@example.net", *tls, *auth,
        "--upload-file", "-", "--crlf", text="Subject: curl\n\n.dot\n..\n",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    message = parsed(relay.last(service_for(mechanism, way))[2])
    assert message["Subject"] == "curl"
    assert text_of(message) == ".dot\n..\n"


def test_telnet_gets_an_answer_to_each_line(relay: Relay) -> None:
    telnet = need("telnet")
    command = [telnet, "127.0.0.1", str(relay.port("open-tcp"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen = b""
        for line, reply in ((b"", b"ESMTP"), (b"HELO client\n", b"250 mail"), (b"QUIT\n", b"221")):
            process.stdin.write(line)
            process.stdin.flush()
            while reply not in seen:
                seen = process.stdout.readline()
                assert seen, reply


def test_old_tls_is_refused(relay: Relay) -> None:
    openssl = need("openssl")
    result = run(
        openssl, "s_client", "-connect", f"127.0.0.1:{relay.port('open-ssl')}", "-tls1_1",
        "-cipher", "DEFAULT@SECLEVEL=0",
    )  # fmt: skip
    assert result.returncode != 0
