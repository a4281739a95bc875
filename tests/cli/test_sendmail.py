"""`multid sendmail`: its arguments, what it makes of a mail, and its way into the queue."""

import email
import json
import os
import pwd
import subprocess

import pytest
from click.testing import CliRunner

from multid.cli import main
from multid.cli.sendmail import Options, parse, prepare, read
from multid.mail.drop import MODE, leave, open_content, read_envelope
from tests.process import BIN, Multid

ME = pwd.getpwuid(os.getuid()).pw_name

ARGUMENTS = [
    (["a@x", "b@x"], Options(recipients=["a@x", "b@x"])),
    (["-t", "-i"], Options(from_header=True, ignore_dots=True)),
    (["-ti"], Options(from_header=True, ignore_dots=True)),
    (["-oi", "-f", "s@x", "a@x"], Options(sender="s@x", ignore_dots=True, recipients=["a@x"])),
    (["-fs@x", "-Fme", "a@x"], Options(sender="s@x", name="me", recipients=["a@x"])),
    (["-F", "me too", "-r", "s@x"], Options(sender="s@x", name="me too")),
    (["-bm", "-odb", "-oem", "-N", "never", "-O", "x=y", "-v", "--", "-a@x"], Options(recipients=["-a@x"])),
    (["-bp"], Options(action="p")),
    (["-q"], Options(action="q")),
    (["-q30m"], Options(action="q")),
    (["--config", "f", "a@x"], Options(config="f", recipients=["a@x"])),
]


@pytest.mark.parametrize(("arguments", "options"), ARGUMENTS)
def test_arguments(arguments, options):
    assert parse(list(arguments)) == options


CONTENTS = [
    (b"Subject: x\n\nbody\n", False, b"Subject: x\r\n\r\nbody\r\n"),
    (b"Subject: x\r\n\r\nbody", False, b"Subject: x\r\n\r\nbody\r\n"),
    (b"A: b\n\none\n.\ntwo\n", False, b"A: b\r\n\r\none\r\n"),
    (b"A: b\n\none\n.\ntwo\n", True, b"A: b\r\n\r\none\r\n.\r\ntwo\r\n"),
    (b"From me Mon\nA: b\n\n", False, b"A: b\r\n\r\n"),
    (b"\nbody\n", False, b"\r\nbody\r\n"),
]


@pytest.mark.parametrize(("given", "ignore_dots", "expected"), CONTENTS)
def test_what_is_read(given, ignore_dots, expected):
    assert read(given, ignore_dots=ignore_dots) == expected


BCC = b"Bcc: e@x.test,\r\n\tf@x.test\r\n"
MAIL = b"To: a@x.test, Bee <b@x.test>\r\nCc: c@x.test,\r\n d@x.test\r\n" + BCC + b"X: y\r\n\r\nbody\r\n"


def test_recipients_are_taken_from_the_header_and_bcc_is_gone():
    sender, recipients, content = prepare(Options(from_header=True, recipients=["z", "a@x.test"]), MAIL)
    assert sender == ME
    assert recipients == ["z", "a@x.test", "b@x.test", "c@x.test", "d@x.test", "e@x.test", "f@x.test"]
    assert content == MAIL.replace(BCC, b"")


def test_bcc_is_gone_without_t_too():
    assert b"Bcc" not in prepare(Options(recipients=["z@x.test"]), MAIL)[2]


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (b"Subject: x\r\nhello world: text\r\nbye\r\n", b"Subject: x\r\n\r\nhello world: text\r\nbye\r\n"),
        (b"just text\r\nA: b\r\n", b"\r\njust text\r\nA: b\r\n"),
        (b" indented\r\n\r\nmore\r\n", b"\r\n indented\r\n\r\nmore\r\n"),
        (b"Subject: x\r\n", b"Subject: x\r\n\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_nothing_of_a_mail_without_a_blank_line_is_lost(given, content):
    assert prepare(Options(recipients=["z@x.test"]), given)[2] == content


def test_a_user_without_a_name_is_a_number(monkeypatch):
    monkeypatch.setattr("multid.cli.sendmail.os.getuid", lambda: 2**31 - 7)
    assert prepare(Options(recipients=["a@x"]), b"A: b\r\n\r\n")[0] == "2147483641"


@pytest.mark.parametrize("sender", ["", "<>"])
def test_the_null_sender(sender):
    assert prepare(Options(sender=sender, recipients=["a@x"]), b"A: b\r\n\r\n")[0] == ""


def test_a_name_makes_a_from_where_there_is_none():
    options = Options(sender="s@x.test", name="Me, Too", recipients=["a@x"])
    assert prepare(options, b"A: b\r\n\r\n")[2] == b'A: b\r\nFrom: "Me, Too" <s@x.test>\r\n\r\n'
    assert prepare(options, b"From: b\r\n\r\n")[2] == b"From: b\r\n\r\n"
    assert prepare(options, b"\r\ntext\r\n")[2].endswith(b"\r\n\r\ntext\r\n")


def test_a_dropped_mail_is_whole_and_private(tmp_path):
    leave(tmp_path, "a@x", ["b@x"], b"content")
    (path,) = tmp_path.iterdir()
    dropped = read_envelope(path)
    assert (dropped.sender, dropped.recipients, dropped.uid) == ("a@x", ("b@x",), os.getuid())
    assert path.read_bytes()[dropped.offset :] == b"content"


@pytest.mark.parametrize(
    "line", [b"", b"no json\n", b"[]\n", b'{"sender": "a"}\n', b'{"sender": "a", "recipients": []}\n',
             b'{"sender": "a", "recipients": [7]}\n', b'{"sender": "a\\r\\nX", "recipients": ["b"]}\n'],
)  # fmt: skip
def test_what_is_no_envelope(tmp_path, line):
    (tmp_path / "x").write_bytes(line)
    with pytest.raises(ValueError, match="envelope"):
        read_envelope(tmp_path / "x")


def test_links_and_pipes_are_not_read(tmp_path):
    leave(tmp_path, "a@x", ["b@x"], b"content")
    (path,) = tmp_path.iterdir()
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        read_envelope(tmp_path / "link")
    os.link(path, tmp_path / "hard")
    with pytest.raises(ValueError, match="of its own"):
        read_envelope(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="of its own"):
        read_envelope(tmp_path / "pipe")


@pytest.mark.parametrize("what", ["link", "pipe", "file"])
def test_what_becomes_another_file_is_not_read(tmp_path, what):
    leave(tmp_path, "a@x", ["b@x"], b"content")
    (path,) = tmp_path.iterdir()
    dropped = read_envelope(path)
    os.close(open_content(dropped))
    path.rename(tmp_path / "other")
    if what == "link":
        path.symlink_to(tmp_path / "other")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"secret")
    with pytest.raises((OSError, ValueError), match=r"symbolic|another file"):
        open_content(dropped)


def test_a_mail_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multid.mail.drop.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        leave(tmp_path, "a@x", ["b@x"], b"content")
    assert list(tmp_path.iterdir()) == []


CONFIG = {
    "services": {
        "relay": {"type": "smtp", "listen": "tcp:0:interface=127.0.0.1", "hostname": "relay.test", "mode": "hold"}
    }
}


@pytest.fixture(scope="module")
def multid(tmp_path_factory):
    with Multid(tmp_path_factory.mktemp("daemon"), CONFIG) as running:
        running.port("relay")
        yield running


def sendmail(folder, *arguments, data=b"Subject: x\n\nbody\n", name="multid"):
    command = [BIN / "multid", "sendmail"] if name == "multid" else [name]
    return subprocess.run([*command, *arguments], input=data, capture_output=True, cwd=folder)


def queued(folder):
    said = subprocess.run([BIN / "multid", "queue", "list", "--json"], capture_output=True, cwd=folder, text=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_a_mail_gets_into_the_queue_of_the_running_daemon(multid):
    data = b"To: root, b@example.com\nBcc: c@example.com\nSubject: x\n\none\n.two\n\xc3\xbc\n"
    assert sendmail(multid.folder, "-t", "-oi", data=data).returncode == 0
    multid.wait_for(r"from <\S+@relay\.test>, 3 recipients")
    (mail,) = queued(multid.folder)
    assert [r["address"] for r in mail["recipients"]] == ["root@relay.test", "b@example.com", "c@example.com"]
    shown = subprocess.run(
        [BIN / "multid", "queue", "show", "--json", "--content", mail["id"]], capture_output=True, cwd=multid.folder
    )
    text = json.loads(shown.stdout)["text"]
    assert "Bcc" not in text
    assert "Message-ID:" in text
    assert f"uid-{os.getuid()}" in text
    assert text.endswith("\r\n\r\none\r\n.two\r\n\u00fc\r\n")


def test_under_the_names_of_sendmail_and_mailq(multid, tmp_path):
    for name in ("sendmail", "mailq"):
        (tmp_path / name).symlink_to(BIN / "multid")
    before = len(queued(multid.folder))
    assert sendmail(multid.folder, "d@example.com", name=tmp_path / "sendmail").returncode == 0
    multid.wait_for(r"from <\S+@relay\.test>, 1 recipients")
    said = sendmail(multid.folder, name=tmp_path / "mailq")
    assert said.returncode == 0
    assert f"{before + 1} mails" in said.stdout.decode()


def test_it_accepts_while_the_daemon_is_down_and_hands_over_when_it_is_up(tmp_path):
    with Multid(tmp_path, CONFIG) as running:
        with running.connect("relay") as client:
            assert client.recv(3) == b"220"
        running.stop()
    assert (tmp_path / "var" / "mail.drop").stat().st_mode & 0o7777 == MODE
    assert sendmail(tmp_path, "b@example.com").returncode == 0
    with Multid(tmp_path, CONFIG) as running:
        running.port("relay")
        running.wait_for(r"from <\S+@relay\.test>, 1 recipients")
        assert [mail["recipients"][0]["address"] for mail in queued(tmp_path)] == ["b@example.com"]
    assert list((tmp_path / "var" / "mail.drop").iterdir()) == []


def test_what_the_daemon_refuses_for_good_is_kept(multid):
    directory = multid.folder / "var" / "mail.drop"
    (directory / "garbage").write_bytes(b"garbage\n")
    multid.wait_for("garbage: refused, and kept")
    assert (directory / "garbage.refused").read_bytes() == b"garbage\n"
    (directory / "garbage.refused").unlink()


def test_the_sender_of_a_mail_that_is_refused_for_good_is_told(tmp_path):
    relay = {**CONFIG["services"]["relay"], "limits": {"size": "64KiB"}}
    with Multid(tmp_path, {"services": {"relay": relay}}) as running:
        running.port("relay")
        large = b"Subject: large\n\n" + b"x" * 70 + 1000 * (b"\n" + b"x" * 70)
        assert sendmail(tmp_path, "-f", "me@example.org", "b@example.com", data=large).returncode == 0
        running.wait_for("refused, and kept as it is: 552")
        running.wait_for("from <>, 1 recipients")
        (mail,) = queued(tmp_path)
        assert (mail["sender"], mail["recipients"][0]["address"]) == ("", "me@example.org")
        command = [BIN / "multid", "queue", "show", "--json", "--content", mail["id"]]
        shown = subprocess.run(command, capture_output=True, cwd=tmp_path)
        report = email.message_from_string(json.loads(shown.stdout)["text"])
        assert report.get_content_type() == "multipart/report"
        (failed,) = report.get_payload()[1].get_payload()[1:]
        assert (failed["Final-Recipient"], failed["Status"]) == ("rfc822; b@example.com", "5.3.4")
        assert "Subject: large" in report.get_payload()[2].get_payload()
    assert [path.suffix for path in (tmp_path / "var" / "mail.drop").iterdir()] == [".refused"]


def test_nothing_that_anybody_puts_there_keeps_a_mail_waiting(multid):
    directory = multid.folder / "var" / "mail.drop"
    (directory / ("!" * 255)).write_bytes(b"its name cannot be longer\n")
    (directory / "!.refused" / "full").mkdir(parents=True)
    (directory / "!").write_bytes(b"its new name is taken\n")
    (directory / ".old").mkdir()
    os.utime(directory / ".old", (0, 0))
    assert sendmail(multid.folder, "waiting@example.com").returncode == 0
    multid.wait_for(r"from <\S+@relay\.test>, 1 recipients")
    assert sendmail(multid.folder, "waiting@example.com").returncode == 0
    multid.wait_for(r"from <\S+@relay\.test>, 1 recipients")


@pytest.fixture
def run(multid, monkeypatch):
    monkeypatch.chdir(multid.folder)
    monkeypatch.delenv("MULTID_CONFIG", raising=False)
    return lambda *arguments, data=b"A: b\n\n": CliRunner().invoke(main, ["sendmail", *arguments], input=data)


CODES = [
    ([], os.EX_USAGE),
    (["-t"], os.EX_USAGE),
    (["-f"], os.EX_USAGE),
    (["-bs"], os.EX_USAGE),
    (["a@@x"], os.EX_DATAERR),
    (["-f", "a b", "x@x.test"], os.EX_DATAERR),
    (["--config", "/nonexistent", "a@x.test"], os.EX_CONFIG),
]


@pytest.mark.parametrize(("arguments", "code"), CODES)
def test_exit_codes(run, arguments, code):
    assert run(*arguments).exit_code == code


def test_a_drop_directory_that_cannot_be_written_is_a_reason_to_try_again(run, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multid.cli.sendmail.leave", fail)
    assert run("a@x.test").exit_code == os.EX_TEMPFAIL


def test_a_configuration_without_smtp(tmp_path, run):
    (tmp_path / "c.yaml").write_text("services: {echo: {listen: tcp:7}}\n")
    assert run("--config", str(tmp_path / "c.yaml"), "a@x.test").exit_code == os.EX_CONFIG


def test_queue_verbs(run):
    assert "mails" in run("-bp").output or "empty" in run("-bp").output
    assert run("-q").exit_code == 0
