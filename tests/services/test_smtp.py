"""The relay as a service: on sockets, with its spool on disk, through a change of the file and its end."""

import os
import re
import sqlite3
from base64 import b64encode
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from multid.mail.interface import SpoolError
from multid.mail.queued import MailState, Query
from multid.service import ServiceError
from multid.services._smtp_config import SmtpConfig
from multid.services.smtp import SmtpService
from tests.certificates import Authority
from tests.conftest import Bench
from tests.mail.conversation import lint

HERE = {"hostname": "mail.example.org", "mode": "hold"}
MAIL = b"EHLO client\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n%s\r\n.\r\nQUIT\r\n"


def talk(bench: Bench, service: Any, data: bytes, number: int = 0) -> bytes:
    """Send everything at once, and return all replies, linted."""
    client = bench.connect(service, number)
    client.sendall(data)
    replies = bench.read_all(client)
    lint(replies)
    return replies


def queued(bench: Bench, service: Any) -> list[Any]:
    mails: list[Any] = bench.loop.result(service._spool.select(Query()))
    return mails


def test_a_mail_that_is_acknowledged_is_in_the_spool(bench: Bench) -> None:
    service = bench.serve("smtp", **HERE)
    replies = talk(bench, service, MAIL % b"Hello")
    found = re.search(rb"250 2\.0\.0 Ok: queued as (\w+)\r\n221", replies)
    assert found
    [mail] = queued(bench, service)
    assert mail.envelope.id == found[1].decode()
    assert mail.envelope.peer.startswith("127.0.0.1:")
    assert service.taken.mails == 1


def test_a_mail_above_inline_lies_in_a_file(bench: Bench, tmp_path: Path) -> None:
    service = bench.serve("smtp", **HERE, queue={"inline": 1000})
    talk(bench, service, MAIL % (b"x" * 70 + b"\r\n") * 1)
    talk(bench, service, MAIL % (b"y" * 5000))
    assert len(queued(bench, service)) == 2
    [file] = (tmp_path / "mail" / "content").iterdir()
    assert file.read_bytes().endswith(b"y\r\n")


def test_a_size_above_the_limit_is_refused_and_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    service = bench.serve("smtp", **HERE, limits={"size": 65536}, queue={"inline": 1000})
    assert b"552 5.3.4" in talk(bench, service, MAIL % (b"x" * 65536))
    assert queued(bench, service) == []
    bench.loop.until(lambda: not list((tmp_path / "mail" / "incoming").iterdir()))


def damage(path: Path, from_page: int) -> None:
    """Overwrite a spool from a page on."""
    with sqlite3.connect(path / "spool.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with (path / "spool.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(from_page * 4096)
        file.write(b"\xff" * (size - from_page * 4096))


def test_a_spool_that_is_damaged_in_its_middle_is_not_used(bench: Bench, tmp_path: Path) -> None:
    service = bench.serve("smtp", **HERE)
    for _ in range(20):
        talk(bench, service, MAIL % (b"x" * 900))
    bench.loop.result(service.stopService())
    damage(tmp_path / "mail", 4)
    with pytest.raises(ServiceError, match=r"cannot use the spool .*: DatabaseError: database disk image is malformed"):
        bench.serve("smtp", **HERE)


def test_a_spool_that_turns_out_to_be_damaged_takes_no_mail(bench: Bench, tmp_path: Path) -> None:
    service = bench.serve("smtp", **HERE)
    found = re.search(rb"queued as (\w+)", talk(bench, service, MAIL % ((b"x" * 78 + b"\r\n") * 1000)))
    assert found
    damage(tmp_path / "mail", 8)
    assert (service.state, service.details()["notes"]) == ("up", ["mode hold: nothing is sent"])
    with pytest.raises(SpoolError):
        bench.loop.result(service._spool.load(found[1].decode()))
    why = f"the spool {tmp_path / 'mail'} is damaged: DatabaseError: database disk image is malformed"
    assert (service.state, service.details()["notes"][-1]) == ("degraded", why)
    assert b"451 4.3.0" in talk(bench, service, MAIL % b"")
    assert len(queued(bench, service)) == 1


@pytest.mark.parametrize(
    ("networks", "relays"), [(["127.0.0.0/8"], True), (["127.0.0.2/32", "::1/128"], False), ([], False)]
)
def test_only_peers_in_networks_relay(bench: Bench, networks: list[str], *, relays: bool) -> None:
    service = bench.serve("smtp", **HERE, networks=networks)
    assert (b"queued" in talk(bench, service, MAIL % b"")) == relays
    assert len(queued(bench, service)) == relays


def test_a_drop_directory_that_is_gone_is_said_once(bench: Bench, tmp_path: Path, logged: list[dict[str, Any]]) -> None:
    service = bench.serve("smtp", **HERE)
    (tmp_path / "mail.drop").rmdir()
    for _ in range(2):
        bench.loop.result(service._pickup._take_all())
    [event] = [event for event in logged if "picked up" in event["log_format"]]
    assert "log_failure" not in event
    assert "mail.drop" in event["why"]


def test_who_can_open_the_unix_socket_relays(bench: Bench, tmp_path: Path) -> None:
    service = bench.serve("smtp", **HERE, networks=[], listen=f"unix:{tmp_path}/smtp.sock")
    assert b"queued" in talk(bench, service, MAIL % b"")
    [mail] = queued(bench, service)
    assert mail.envelope.peer == "unix"


def test_mail_is_captured_in_mode_capture(bench: Bench) -> None:
    service = bench.serve("smtp", **HERE | {"mode": "capture"})
    talk(bench, service, MAIL % b"")
    assert [mail.state for mail in queued(bench, service)] == [MailState.CAPTURED]


def test_a_change_of_the_file_keeps_mail_and_holds_for_new_connections(bench: Bench) -> None:
    service = bench.serve("smtp", **HERE)
    talk(bench, service, MAIL % b"")
    old = bench.connect(service)
    bench.read(old, len(b"220 mail.example.org ESMTP\r\n"))
    [address] = [binding.address for binding in service.bindings.values()]
    bench.retune(service, **HERE | {"hostname": "new.example.org"}, networks=[], listen=address)
    old.send(MAIL % b"")
    assert b"queued" in bench.read_all(old)
    new = bench.connect(service)
    new.send(MAIL % b"")
    replies = bench.read_all(new)
    assert replies.startswith(b"220 new.example.org ESMTP\r\n")
    assert b"550 5.7.1 Relaying denied" in replies
    assert len(queued(bench, service)) == 2
    assert service.taken.mails == 2


def test_the_path_of_a_queue_in_use_cannot_change(bench: Bench, tmp_path: Path) -> None:
    service = bench.serve("smtp", **HERE)
    with pytest.raises(ServiceError, match="with a restart only"):
        bench.retune(service, **HERE, listen="tcp:0", queue={"path": tmp_path / "other"})


def test_a_queue_that_another_service_uses_is_refused(bench: Bench) -> None:
    bench.serve("smtp", **HERE)
    with pytest.raises(ServiceError, match="cannot use the spool"):
        bench.serve("smtp", **HERE)


def test_a_stranger_who_logs_in_relays(bench: Bench, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"joe:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    service = bench.serve("smtp", **HERE, networks=[], auth={"users": users, "require_tls": False})
    login = b"EHLO client\r\nAUTH PLAIN %s\r\n"
    assert b"535 5.7.8" in talk(bench, service, login % b64encode(b"\0joe\0wrong") + b"QUIT\r\n")
    replies = talk(bench, service, login % b64encode(b"\0joe\0secret") + MAIL % b"")
    assert b"235 2.7.0" in replies
    [mail] = queued(bench, service)
    assert mail.envelope.auth_user == "joe"


def test_users_that_cannot_be_read_are_told(bench: Bench, tmp_path: Path) -> None:
    auth = {"users": tmp_path / "users", "require_tls": False}
    with pytest.raises(ServiceError, match=r"auth: .*No such file"):
        bench.serve("smtp", **HERE, auth=auth)
    (tmp_path / "users").write_text("joe:secret\n")
    with pytest.raises(ServiceError, match=r"users:1: a line is USER:HASH"):
        bench.serve("smtp", **HERE, auth=auth)


def test_a_password_of_a_route_that_cannot_be_read_is_told(bench: Bench) -> None:
    routes = [{"via": "smtp://127.0.0.1:1", "auth": {"user": "u", "password": {"env": "MULTID_NONE"}}}]
    with pytest.raises(ServiceError, match="route 1: the password cannot be read"):
        bench.serve("smtp", **HERE, routes=routes)


def test_what_was_opened_for_a_change_that_is_undone_is_closed(bench: Bench) -> None:
    config = SmtpConfig.model_validate({"type": "smtp", "listen": "tcp:0:interface=127.0.0.1", **HERE})
    bench.loop.result(SmtpService("smtp", config, bench.runtime).prepare(config, strict=True)).undo()
    bench.loop.until(lambda: _serves(bench))


def _serves(bench: Bench) -> bool:
    try:
        bench.serve("smtp", **HERE)
    except ServiceError:
        return False
    return True


def test_a_service_that_stops_finishes_the_mail_that_is_coming_in(bench: Bench) -> None:
    service = bench.serve("smtp", **HERE)
    client = bench.connect(service)
    client.send(b"HELO client\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n")
    bench.read(client, 28 + 22 + 14 + 14 + 37)
    stopping = service.stopService()
    bench.loop.turn()
    client.send(b"\r\n.\r\n")
    assert re.fullmatch(rb"250 2\.0\.0 Ok: queued as \w+\r\n421 4\.3\.2 .*\r\n", bench.read_all(client))
    bench.loop.result(stopping)


def test_what_is_glued_behind_starttls_is_never_executed(bench: Bench, tmp_path: Path) -> None:
    certificate = Authority(tmp_path).issue("localhost")
    service = bench.serve("smtp", **HERE, tls={"certificate": certificate})
    replies = talk(bench, service, b"EHLO client\r\nSTARTTLS\r\n" + MAIL % b"")
    assert replies.endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert queued(bench, service) == []


def test_an_idle_client_is_told_and_sent_away(bench: Bench) -> None:
    service = bench.serve("smtp", **HERE, timeouts={"idle": 4})
    client = bench.connect(service)
    bench.read(client, 28)
    for _ in range(6):
        bench.loop.advance(1)
    assert bench.read_all(client) == b"421 4.4.2 Timeout, closing\r\n"
