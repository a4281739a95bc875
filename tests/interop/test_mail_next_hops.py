"""Mail goes out to real servers: smtp-sink with each of its faults, aiosmtpd, a Postfix and an Exim of the test's own.

The delivery queue and its client run as in the daemon, on a spool in memory; reports have no route, so they stay where
the test sees them. What a server has taken must be what was stored, octet for octet.
"""

import contextlib
import email
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from multid.mail.bounces import BounceSettings
from multid.mail.envelope import Envelope, Recipient
from multid.mail.queue import DeliveryQueue
from multid.mail.retry import RetryPolicy
from multid.mail.route import Hop, Pattern, Route
from multid.mail.spool import MemorySpool
from multid.mail.tries import QueueSettings
from tests.campaigns.campaign import until
from tests.loop import Loop
from tests.process import free_port
from tests.programs import need, unpacked

HEADER = b"From: a@example.org\r\nSubject: dots\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
SMALL = HEADER + b".\r\n..\r\n...three\r\n From here\r\nFrom there\r\n\r\n.\r\n" + b"x" * 900 + b"\r\n\r\n"
EIGHT_BIT = SMALL + "Grüße 你好\r\n".encode()
LARGE = HEADER + b".%s\r\n" % (b"y" * 76) * 30_000


class Relay:
    """A queue with one next hop, to which all mail for example.com goes."""

    def __init__(self, loop: Loop, port: int) -> None:
        self.loop = loop
        self.spool = MemorySpool()
        route = Route("out", (Hop("127.0.0.1", port, "none"),), recipient=Pattern("*@example.com"))
        self.queue = DeliveryQueue(
            loop,
            self.spool,
            QueueSettings("me.test", BounceSettings("me.test", "me.test"), (route,), RetryPolicy(jitter=0.0)),
            new_id=self.spool.new_id,
        )
        self.queue.start(loop.result(self.spool.scan()))

    def send(self, content: bytes, **fields: Any) -> str:
        """Hand in a mail and let the queue try it; return what came of it."""
        incoming = self.spool.begin(len(content))
        incoming.append(content)
        recipients = (Recipient("b@example.com"),)
        values: dict[str, Any] = {"body": "7BIT" if content.isascii() else "8BITMIME"} | fields
        envelope = Envelope(incoming.id, "a@example.org", recipients, len(content), time.time(), **values)
        self.loop.result(incoming.commit(envelope))
        self.loop.until(lambda: not self.queue.active and set(self.spool.mails) <= self._waiting())
        reports = [mail for mail in self.spool.mails.values() if mail.envelope.origin == "dsn"]
        if envelope.id in self.spool.mails:
            assert not reports
            return "deferred"
        return "failed" if reports else "delivered"

    def _waiting(self) -> set[str]:
        """Return the mails that have been looked at and are to be looked at again."""
        return {
            id_ for id_ in self.spool.mails if id_ in self.queue.waiting.agenda or id_ in self.queue.waiting.unrouted
        }

    def close(self) -> None:
        self.loop.result(self.queue.stop())


@pytest.fixture
def relay(loop: Loop) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def make(port: int) -> Relay:
            relay = Relay(loop, port)
            stack.callback(relay.close)
            return relay

        yield make


def wait_for_server(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, "the server does not come up"
        time.sleep(0.02)


@contextlib.contextmanager
def smtp_sink(folder: Path, *switches: str) -> Iterator[int]:
    """Run smtp-sink, which keeps each mail in a file of its own; its port."""
    program = need("smtp-sink")
    port = free_port()
    identity = ["-u", getpass.getuser()] if os.geteuid() == 0 else []
    command = [program, *identity, *switches, "-d", str(folder / "mail."), f"127.0.0.1:{port}", "100"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_server(port)
            yield port
        finally:
            process.terminate()


def dumped(folder: Path) -> bytes:
    """Return the one mail that smtp-sink has taken: it writes LF for CRLF, its own lines before, an empty one after."""
    [path] = [path for path in folder.glob("mail.*") if path.stat().st_size]
    content = path.read_bytes().removesuffix(b"\n")
    return content[content.index(b"From: a@") :].replace(b"\n", b"\r\n")


FAULTS = {
    "rcpt later": (["-r", "RCPT"], "deferred"),
    "rcpt never": (["-f", "RCPT"], "failed"),
    "mail later": (["-r", "MAIL"], "deferred"),
    "mail never": (["-f", "MAIL"], "failed"),
    "data later": (["-r", "DATA"], "deferred"),
    "data never": (["-f", "DATA"], "failed"),
    "dot later": (["-r", "."], "deferred"),
    "dot never": (["-f", "."], "failed"),
    "greeting later": (["-r", "CONNECT"], "deferred"),
    "greeting never": (["-f", "CONNECT"], "deferred"),
    "no EHLO": (["-f", "EHLO"], "delivered"),
    "no hello at all": (["-f", "EHLO,HELO"], "deferred"),
    "closes at connect": (["-q", "CONNECT"], "deferred"),
    "closes at EHLO": (["-q", "EHLO"], "deferred"),
    "closes at MAIL": (["-q", "MAIL"], "deferred"),
    "closes at RCPT": (["-q", "RCPT"], "deferred"),
    "closes at DATA": (["-q", "DATA"], "deferred"),
    "closes at dot": (["-q", "."], "deferred"),
    "421 at MAIL": (["-Q", "MAIL"], "deferred"),
    "421 at RCPT": (["-Q", "RCPT"], "deferred"),
    "421 at DATA": (["-Q", "DATA"], "deferred"),
    "421 at dot": (["-Q", "."], "deferred"),
    "closes at QUIT": (["-q", "QUIT"], "delivered"),
    "a reply in the content": (["-A", "0"], "failed"),  # 550, before or after the content is sent
    "other soft reply": (["-r", "RCPT", "-b", "421 4.7.0 Go away"], "deferred"),
    "other hard reply": (["-f", ".", "-B", "554 5.7.1 Spam"], "failed"),
    "no enhanced codes": (["-E"], "delivered"),
    "no DSN": (["-N"], "delivered"),
    "no pipelining": (["-p"], "delivered"),
    "no ESMTP": (["-e"], "delivered"),
    "a PIX": (["-P"], "delivered"),
    "no 8BITMIME": (["-8"], "delivered"),
    "small window": (["-T", "512"], "delivered"),
    "late reader": (["-H", "1", "-T", "512"], "delivered"),
}


@pytest.mark.parametrize(("switches", "outcome"), FAULTS.values(), ids=FAULTS)
def test_smtp_sink_with_a_fault(relay: Any, tmp_path: Path, switches: list[str], outcome: str) -> None:
    """Each fault has the one outcome that SMTP gives it, and nothing is lost or delivered in part."""
    with smtp_sink(tmp_path, *switches) as port:
        assert relay(port).send(SMALL) == outcome
    if outcome == "delivered":
        assert dumped(tmp_path) == SMALL


def test_eight_bits_are_encoded_for_a_server_that_takes_seven(relay: Any, tmp_path: Path) -> None:
    with smtp_sink(tmp_path, "-8") as port:
        assert relay(port).send(EIGHT_BIT) == "delivered"
    content = dumped(tmp_path)
    assert content.isascii()
    payload = email.message_from_bytes(content).get_payload(decode=True)
    assert payload == EIGHT_BIT.removeprefix(HEADER)


@pytest.mark.parametrize("content", [SMALL, EIGHT_BIT, LARGE], ids=["small", "eight bits", "large"])
def test_aiosmtpd_takes_every_octet(relay: Any, content: bytes) -> None:
    taken: list[bytes] = []

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            taken.append(envelope.content)
            return "250 2.0.0 Ok"

    controller = Controller(Keep(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        assert relay(controller.port).send(content) == "delivered"
    finally:
        controller.stop()
    assert taken == [content]


POSTFIX = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.com
mydestination =
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
"""


@pytest.fixture
def postfix() -> Iterator[tuple[int, Path]]:
    """A Postfix with a configuration and a queue of its own: its port, and the maildir it delivers to."""
    need("postfix")
    if os.geteuid() != 0:
        pytest.skip("Postfix is started by root")
    user = pwd.getpwnam("postfix")
    folder = Path(tempfile.mkdtemp(prefix="multid-postfix-"))
    port = free_port()
    try:
        folder.chmod(0o755)
        for name in ("config", "queue", "data", "mail"):
            (folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(folder / name, user.pw_uid, user.pw_gid)
        (folder / "config/main.cf").write_text(POSTFIX.format(folder=folder, uid=user.pw_uid, gid=user.pw_gid))
        (folder / "config/master.cf").write_text(MASTER.format(port=port))
        configuration = ["-c", str(folder / "config")]
        subprocess.run(["postfix", *configuration, "check"], check=True, capture_output=True, timeout=30)
        daemons = subprocess.check_output(["postconf", *configuration, "-h", "daemon_directory"], text=True).strip()
        with subprocess.Popen([f"{daemons}/master", *configuration, "-d"], stderr=subprocess.DEVNULL) as master:
            try:
                wait_for_server(port)
                yield port, folder / "mail/box/new"
            finally:
                master.terminate()
    finally:
        shutil.rmtree(folder)


@pytest.mark.campaign  # Postfix takes seconds to start
@pytest.mark.parametrize("content", [SMALL, EIGHT_BIT], ids=["small", "eight bits"])
def test_postfix_takes_every_octet(relay: Any, postfix: tuple[int, Path], content: bytes) -> None:
    port, maildir = postfix
    assert relay(port).send(content) == "delivered"
    assert delivered_body(maildir) == content.removeprefix(HEADER)


EXIM = """\
primary_hostname = mx.example.com
exim_user = {user}
exim_group = {user}
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
acl_smtp_rcpt = accept
deliver_drop_privilege
keep_environment =
never_users =
message_size_limit = 10M
tls_advertise_hosts =
begin routers
box:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  user = {user}
begin retry
* * F,1h,1m
"""


EXIM_USER = "Debian-exim"
"""Whom Debian's Exim wants to find in the user database, whatever its configuration says."""


@pytest.fixture
def exim() -> Iterator[tuple[int, Path]]:
    """An unpacked Exim with a configuration, a spool and a user of its own: its port, and where it delivers to."""
    need("unshare")
    if os.geteuid() != 0:
        pytest.skip("Exim is started by root")
    root, environment = unpacked("exim4-daemon-light")
    nobody = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="multid-exim-"))
    port = free_port()
    try:
        folder.chmod(0o755)
        for name in ("spool", "mail"):
            (folder / name).mkdir()
            os.chown(folder / name, nobody.pw_uid, nobody.pw_gid)
        added = {
            "passwd": f"{EXIM_USER}:x:{nobody.pw_uid}:{nobody.pw_gid}::/:/bin/false\n",
            "group": f"{EXIM_USER}:x:{nobody.pw_gid}:\n",
        }
        for name, line in added.items():
            (folder / name).write_text(line + Path("/etc", name).read_text())
        configuration = folder / "exim.conf"
        configuration.write_text(EXIM.format(folder=folder, user=EXIM_USER, port=port))
        own_users = " && ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in added)
        command = ["unshare", "--mount", "sh", "-c", f'{own_users} && exec "$@"', "sh"]
        command += [str(root / "usr/sbin/exim4"), "-C", str(configuration), "-bdf"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as daemon:
            try:
                wait_for_server(port)
                yield port, folder / "mail/new"
            finally:
                daemon.terminate()
    finally:
        shutil.rmtree(folder)


@pytest.mark.campaign  # it is fetched from the network
@pytest.mark.parametrize("content", [SMALL, EIGHT_BIT, LARGE], ids=["small", "eight bits", "large"])
def test_exim_takes_every_octet(relay: Any, exim: tuple[int, Path], content: bytes) -> None:
    port, maildir = exim
    assert relay(port).send(content) == "delivered"
    assert delivered_body(maildir) == content.removeprefix(HEADER)


def delivered_body(maildir: Path) -> bytes:
    """Return the body of the one mail in a maildir, which has LF for CRLF, once it is there."""
    [path] = until(lambda: list(maildir.glob("*")), "the mail to be delivered")
    return path.read_bytes().partition(b"\n\n")[2].replace(b"\n", b"\r\n")
