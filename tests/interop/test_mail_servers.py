"""Mail out to smtp-sink, as it is and with each of its faults: it arrives whole, or what became of it is told.

One daemon has a route for each sink, by the recipient's domain.
"""

import email
import os
import re
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from bench.loads import accepts
from tests.campaigns.campaign import until
from tests.process import Multid
from tests.programs import need

TAKES = {
    "plain": [],
    "seven-bit": ["-8"],
    "one-at-a-time": ["-p"],
    "old": ["-e"],
    "slow": ["-w", "1"],
}
STEPS = ("connect", "ehlo", "mail", "rcpt", "data", ".")
FAULTS = {"refuses": "-f", "postpones": "-r", "hangs-up": "-q"}
TEXT = "Viele herzliche Grüße\r\n.\r\n..zwei Punkte\r\nFrom hier\r\n"
MAIL = (
    "From: a@example.org\r\nTo: b@example.net\r\nSubject: text\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT
).encode()
LINE = b"x" * 2000 + b"\r\n"


class Sinks:
    """The sinks, by name, and what each has taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}
        self._processes: list[subprocess.Popen] = []
        for name, switches in TAKES.items():
            self._start(name, *switches)
        for fault, switch in FAULTS.items():
            for step in STEPS:
                self._start(f"{fault}-{STEPS.index(step)}", switch, step)
        until(lambda: accepts(*self.ports.values()), "the sinks to listen")

    def _start(self, name: str, *switches: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.ports[name] = free.getsockname()[1]
        folder = self.folder / name
        folder.mkdir()
        folder.chmod(0o777)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [need("smtp-sink"), *user, *switches, "-d", f"{folder}/%s.", f"127.0.0.1:{self.ports[name]}", "100"]
        self._processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    def taken(self, name: str) -> list[Message]:
        """Return the mails that a sink has taken, without the lines it puts before them and the one behind."""
        contents = (path.read_bytes().removesuffix(b"\n") for path in (self.folder / name).iterdir())
        return [email.message_from_bytes(re.sub(rb"\A(?:X-.*\n)*", b"", content)) for content in contents if content]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def sinks() -> Iterator[Sinks]:
    # Not in pytest's folder, where the user that smtp-sink becomes may not go.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        sinks = Sinks(Path(folder))
        yield sinks
        sinks.close()


@pytest.fixture(scope="module")
def relay(sinks: Sinks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Multid]:
    folder = tmp_path_factory.mktemp("relay")
    routes = [
        {"recipient": f"*@{name}.example", "via": f"smtp://127.0.0.1:{port}", "tls": "none"}
        for name, port in sinks.ports.items()
    ]
    stanza = {"listen": "tcp:0:interface=127.0.0.1", "routes": routes, "queue": {"path": str(folder / "mail")}}
    with Multid(folder, {"state_dir": str(folder), "services": {"smtp": stanza}}) as relay:
        yield relay
        relay.stop()
        assert "Traceback" not in relay.log


def send(relay: Multid, name: str, content: bytes = MAIL) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port("smtp"), timeout=20) as client:
        client.sendmail("a@example.org", [f"b@{name}.example"], content, ["BODY=8BITMIME"])


@pytest.mark.parametrize("name", TAKES)
def test_a_mail_arrives_whatever_the_next_hop_can_do(relay: Multid, sinks: Sinks, name: str) -> None:
    send(relay, name)
    relay.wait_for(rf"sent: <b@{name}\.example>")
    [mail] = sinks.taken(name)
    assert mail["Subject"] == "text"
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.replace(b"\r\n", b"\n") == TEXT.encode().replace(b"\r\n", b"\n")
    is_converted = mail["Content-Transfer-Encoding"] == "quoted-printable"
    assert is_converted == (name in {"seven-bit", "old"})


def test_a_line_too_long_for_smtp_arrives_all_the_same(relay: Multid, sinks: Sinks) -> None:
    before = len(sinks.taken("plain"))
    send(relay, "plain", b"Subject: long\r\n\r\n" + LINE)
    until(lambda: len(sinks.taken("plain")) > before, "the mail")
    [mail] = [mail for mail in sinks.taken("plain") if mail["Subject"] == "long"]
    assert mail.get_payload(decode=True).strip() == LINE.strip()  # type: ignore[union-attr]


@pytest.mark.parametrize("step", STEPS[2:])
def test_what_is_refused_is_not_tried_again(relay: Multid, step: str) -> None:
    name = f"refuses-{STEPS.index(step)}"
    send(relay, name)
    relay.wait_for(rf"failed: <b@{name}\.example> \S+ 5\d\d ")


@pytest.mark.parametrize("step", STEPS[2:])
def test_what_is_postponed_stays(relay: Multid, step: str) -> None:
    name = f"postpones-{STEPS.index(step)}"
    send(relay, name)
    relay.wait_for(rf"deferred: <b@{name}\.example> \S+ 4\d\d ")


@pytest.mark.parametrize("step", STEPS[2:])
def test_a_hop_that_hangs_up_in_a_mail_gets_it_later(relay: Multid, step: str) -> None:
    name = f"hangs-up-{STEPS.index(step)}"
    send(relay, name)
    relay.wait_for(rf"deferred: <b@{name}\.example> \S+ 451 4\.4\.2 ")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS[:2])
def test_a_hop_that_does_not_want_us_is_a_fault_of_the_route(
    relay: Multid, sinks: Sinks, fault: str, step: str
) -> None:
    name = f"{fault}-{STEPS.index(step)}"
    send(relay, name)
    if (fault, step) == ("refuses", "ehlo"):
        relay.wait_for(rf"sent: <b@{name}\.example>")
    else:
        relay.wait_for(rf"route .*:{sinks.ports[name]}.*tried again")
