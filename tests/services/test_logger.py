"""The logger, over real sockets."""

import itertools
import json
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from multid.lines.escape import unescape
from multid.net.follower import Follower, Wanted
from multid.net.peer import Peer
from multid.service import ServiceError
from multid.services import _logger_connection, _logger_live
from multid.services._logger_connection import LEAST_READ, READ_SIZE
from tests.certificates import Authority
from tests.lines.test_writer import largest_file

STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ")


def texts(path: Path) -> list[bytes]:
    """The TEXT of every record in a file, each of which must be whole and of the right form."""
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data
    records = data.splitlines()
    for record in records:
        assert STAMP.match(record), record
    return [record.split(b" ", 3)[3] for record in records]


def file(path: Path, **keys):
    return {"output": [{"file": str(path), **keys}]}


@pytest.fixture
def served(bench, tmp_path):
    """A logger that writes a file."""
    return bench.serve("logger", **file(tmp_path / "lines.log"))


def send(bench, service, data: bytes, number: int = 0) -> None:
    """Send all over one connection, and wait until it has ended."""
    before = service.counters.connections_total
    client = bench.connect(service, number)
    client.setblocking(True)
    client.sendall(data)
    client.shutdown(1)
    bench.loop.until(lambda: service.counters.connections_total > before and not service.connections)
    client.close()


def test_a_record_names_time_service_peer_and_text(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path))
    client = bench.connect(service)
    client.send("hello 你好\n".encode())
    bench.loop.until(path.read_bytes)
    stamp, name, peer, text = path.read_bytes().split(b" ", 3)
    assert STAMP.fullmatch(stamp + b" ")
    assert (name, peer) == (b"logger", b"127.0.0.1:%d" % client.getsockname()[1])
    assert text == "hello 你好\n".encode()


def test_lines_end_by_lf_or_crlf_and_an_end_without_one_is_marked(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path))
    send(bench, service, b"one\ntwo\r\n\n2026-01-02 three\nno end")
    assert texts(path) == [b"one", b"two", b"", b"2026-01-02 three", b"no end\\(unterminated)"]


def test_every_octet_comes_back_through_unescape(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", framing="lf", **file(path))
    line = bytes(octet for octet in range(256) if octet != 10)
    send(bench, service, line + b"\n")
    assert [unescape(text) for text in texts(path)] == [line]


def test_raw_is_the_line_as_received(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path, format="raw"))
    send(bench, service, b"\x1b[31m\\x\xff\r\nnext\n")
    assert path.read_bytes() == b"\x1b[31m\\x\xff\nnext\n"


def test_a_datagram_is_taken_as_lines_or_as_one_message(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", listen="udp:0:interface=127.0.0.1", **file(path))
    client = bench.connect(service)
    for datagram in (b"one\ntwo", b"<13>a\nb\n", b"", b"x" * 65000):
        client.send(datagram)
    bench.loop.until(lambda: service.counters.datagrams == 4)
    assert texts(path) == [b"one", b"two", b"<13>a\\x0ab", b"x" * 65000]
    assert service.accounts.total().balanced


def test_the_account_balances_and_probes_are_counted(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", max_line="16", oversize="drop", **file(path))
    send(bench, service, b"short\n" + b"long" * 10 + b"\nend")
    send(bench, service, b"")
    account = service.accounts.total()
    assert account.balanced
    assert (account.received_octets, account.received_lines, account.written_lines) == (50, 3, 2)
    assert dict(account.dropped_octets) == {"oversize": 41}
    assert service.accounts.probes == 1


def test_a_new_file_has_the_mode_asked_for_under_any_umask(bench, tmp_path):
    before = os.umask(0o077)
    try:
        bench.serve("logger", **file(tmp_path / "lines.log"))
        assert (tmp_path / "lines.log").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_json_and_parsing_come_with_the_stanza(bench, tmp_path):
    path = tmp_path / "lines.json"
    service = bench.serve("logger", parse="syslog", **file(path, format="json"))
    send(bench, service, b"<34>Oct 11 22:14:15 host su[7]: failed\n20 <13>1 - - - - - - m\n")
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["app"], first["severity"], first["message"]) == ("su", "crit", "failed")
    assert second["message"] == "m"


def test_peers_wait_while_the_disk_is_full_and_go_on_where_they_stopped(bench, tmp_path, logged):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path, format="raw"))
    sent = b"".join(b"%019d\n" % number for number in range(600_000))
    client = bench.connect(service)
    rest = memoryview(sent)
    with largest_file(300_010):
        for _ in range(200):
            with suppress(BlockingIOError):
                rest = rest[client.send(rest) :]
            bench.loop.turn()
        assert service.is_waiting
        assert rest
        assert path.stat().st_size == 300_010
        late = bench.connect(service)
        late.send(b"late\n")
        bench.loop.until(lambda: len(service.connections) == 2)
    client.setblocking(True)
    bench.loop.advance(0.5)
    thread = Thread(target=lambda: (client.sendall(rest), client.shutdown(1)))
    thread.start()
    bench.loop.until(lambda: path.stat().st_size == len(sent) + 5)
    thread.join()
    lines = path.read_bytes().splitlines(keepends=True)
    lines.remove(b"late\n")
    assert b"".join(lines) == sent
    assert service.accounts.total().balanced
    assert len([event for event in logged if event.get("where") == str(path)]) == 2


def test_datagrams_are_dropped_and_counted_while_the_disk_is_full(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", listen="udp:0:interface=127.0.0.1", **file(path, format="raw"))
    client = bench.connect(service)
    with largest_file(5):
        for _ in range(3):
            client.send(b"datagram\n")
        bench.loop.until(lambda: service.counters.datagrams == 3)
    bench.loop.advance(0.5)
    total = service.accounts.total()
    assert path.read_bytes() == b"datagram\n"
    assert dict(total.dropped_lines) == {"full": 2}
    assert total.balanced


def test_a_peer_beyond_its_rate_is_paused_and_loses_nothing(bench, tmp_path, logged):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", rate={"lines": "10/s", "burst": 5}, **file(path, format="raw"))
    client = bench.connect(service)
    client.send(b"line\n" * 15)
    bench.loop.until(path.read_bytes)
    client.send(b"more\n")
    for _ in range(5):
        bench.loop.turn()
    assert path.read_bytes() == b"line\n" * 15
    bench.loop.advance(1.01)
    bench.loop.until(lambda: path.read_bytes() == b"line\n" * 15 + b"more\n")
    for _ in range(3):
        bench.loop.advance(1.0)
    notices = [event["log_format"] for event in logged if "host" in event]
    assert len(notices) == 2
    assert "sends more" in notices[0]
    assert "keeps to its rate again" in notices[1]


def test_datagrams_beyond_the_rate_are_dropped_and_counted(bench, tmp_path, logged):
    path = tmp_path / "lines.log"
    listen = "udp:0:interface=127.0.0.1"
    service = bench.serve("logger", listen=listen, rate={"lines": "1/s", "burst": 3}, **file(path, format="raw"))
    client = bench.connect(service)
    for _ in range(5):
        client.send(b"x")
    bench.loop.until(lambda: service.counters.datagrams == 5)
    assert path.read_bytes() == b"x\n" * 3
    assert dict(service.accounts.total().dropped_lines) == {"line-rate": 2}
    for _ in range(4):
        bench.loop.advance(1.0)
    assert [event["dropped"] for event in logged if "dropped" in event and "host" in event] == [2]


@pytest.mark.parametrize("polite", [True, False])
def test_when_the_service_stops_peers_are_told_and_what_they_had_sent_is_taken(bench, tmp_path, polite):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path, format="raw"))
    client = bench.connect(service)
    client.send(b"one\n")
    bench.loop.until(path.read_bytes)
    sent = 4 + client.send(b"two\n" * 100_000) // 4 * 4
    stopping = service.stopService()
    assert bench.read_all(client) == b""
    if polite:
        client.close()
    else:
        bench.loop.until(lambda: path.stat().st_size >= sent)
        bench.loop.advance(0.5)
    bench.loop.result(stopping)
    assert path.read_bytes()[:sent] == (b"one\n" + b"two\n" * 100_000)[:sent]
    assert service.accounts.total().balanced


def test_a_changed_output_is_taken_up_without_touching_connections(bench, tmp_path):
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    listen = "tcp:0:interface=127.0.0.1"
    service = bench.serve("logger", listen=listen, **file(first, format="raw"))
    client = bench.connect(service)
    client.send(b"one\n")
    bench.loop.until(first.read_bytes)
    bench.retune(service, listen=listen, **file(first, format="raw"))
    client.send(b"two\n")
    bench.loop.until(lambda: first.read_bytes() == b"one\ntwo\n")
    bench.retune(service, listen=listen, **file(second, format="raw"))
    client.send(b"three\n")
    bench.loop.until(second.read_bytes)
    assert first.read_bytes() == b"one\ntwo\n"


def test_an_output_that_stays_what_it_is_is_kept_when_others_change(bench, tmp_path):
    listen = "tcp:0:interface=127.0.0.1"
    files = [{"file": str(tmp_path / name)} for name in ("a", "b", "c")]
    service = bench.serve("logger", listen=listen, output=files[:2])
    before = list(service._outputs.values())
    bench.retune(service, listen=listen, output=files[1:])
    assert before[1] in service._outputs.values()
    assert before[0] not in service._outputs.values()
    send(bench, service, b"one\n")
    assert [texts(tmp_path / name) for name in "abc"] == [[], [b"one"], [b"one"]]


def test_an_output_that_is_removed_while_its_disk_is_full_still_writes_what_it_took(bench, tmp_path):
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    listen = "tcp:0:interface=127.0.0.1"
    service = bench.serve("logger", listen=listen, **file(first, format="raw"))
    client = bench.connect(service)
    with largest_file(7):
        client.send(b"one\ntwo\n")
        bench.loop.until(lambda: service.is_waiting)
        bench.retune(service, listen=listen, **file(second, format="raw"))
        assert service.is_waiting
    bench.loop.advance(1.0)
    bench.loop.advance(1.0)
    assert first.read_bytes() == b"one\ntwo\n"
    assert not service.is_waiting
    assert not service._leaving
    client.send(b"three\n")
    bench.loop.until(second.read_bytes)


def test_a_spool_is_handed_over_when_its_next_hop_changes(bench, tmp_path):
    path = tmp_path / "lines.log"
    collector = bench.serve("logger", **file(path, format="raw"))
    hop = f"tcp:127.0.0.1:{bench.address(collector)[1]}"
    spool = {"spool": {"dir": str(tmp_path / "spool")}, "format": "raw", "framing": "lf"}
    listen = "tcp:0:interface=127.0.0.2"
    edge = bench.serve("logger", listen=listen, output=[{"forward": "tcp:127.0.0.1:1", **spool}])
    send(bench, edge, b"one\ntwo\n")
    bench.retune(edge, listen=listen, output=[{"forward": hop, **spool}])
    bench.loop.until(lambda: path.read_bytes() == b"one\ntwo\n")


def test_an_output_that_cannot_be_opened_changes_nothing(bench, tmp_path):
    path = tmp_path / "lines.log"
    listen = "tcp:0:interface=127.0.0.1"
    service = bench.serve("logger", listen=listen, **file(path, format="raw"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ServiceError, match=rf"^output: {tmp_path}/folder: "):
        bench.retune(
            service, listen=listen, output=[{"file": str(tmp_path / "new.log")}, {"file": str(tmp_path / "folder")}]
        )
    send(bench, service, b"one\n")
    assert path.read_bytes() == b"one\n"


def follow(service, **wanted: str) -> list[dict]:
    """What somebody who follows the service sees of its lines."""
    seen: list[dict] = []
    take = lambda event, values: seen.append(dict(values)) if event == "line" else None  # noqa: E731
    service.followers.append(Follower(take, Wanted(**wanted)))
    return seen


def test_whoever_follows_sees_lines_as_they_arrive(bench, tmp_path):
    service = bench.serve("logger", parse="syslog", **file(tmp_path / "lines.log"))
    seen = follow(service)
    send(bench, service, b"<11>Oct 11 22:14:15 host su: one\x07\n")
    (line,) = seen
    assert line["text"] == "<11>Oct 11 22:14:15 host su: one\\x07"
    assert (line["severity"], line["app"], line["peer"].split(":")[0]) == ("err", "su", "127.0.0.1")


@pytest.mark.parametrize(
    ("wanted", "texts"),
    [
        ({}, ["<11>one 你好", "<14>two", "three"]),
        ({"grep": "你"}, ["<11>one 你好"]),
        ({"grep": "t"}, ["<14>two", "three"]),
        ({"grep": "nothing"}, []),
        ({"severity": "err"}, ["<11>one 你好"]),
        ({"severity": "notice"}, ["<11>one 你好", "three"]),
        ({"severity": "crit"}, []),
        ({"severity": "info", "grep": "t"}, ["<14>two", "three"]),
        ({"peer": "127.0.0.1"}, ["<11>one 你好", "<14>two", "three"]),
        ({"peer": "127.0.0.2"}, []),
        ({"peer": "127.0.0.0/8"}, ["<11>one 你好", "<14>two", "three"]),
    ],
)
@pytest.mark.parametrize("parse", ["none", "syslog"])
def test_whoever_follows_sees_what_is_wanted(bench, tmp_path, parse, wanted, texts):
    service = bench.serve("logger", parse=parse, **file(tmp_path / "lines.log"))
    seen = follow(service, **wanted)
    send(bench, service, "<11>one 你好\n<14>two\nthree\n".encode())
    assert [line["text"] for line in seen] == texts


def test_a_text_that_the_charset_does_not_have_is_in_no_line(bench, tmp_path):
    service = bench.serve("logger", charset="latin-1", **file(tmp_path / "lines.log"))
    seen, others = follow(service, grep="你"), follow(service, grep="é")
    send(bench, service, "é\n".encode("latin-1"))
    assert (seen, [line["text"] for line in others]) == ([], ["é"])


def test_following_does_not_slow_the_logger(bench, tmp_path):
    """No more lines are shown than can be read, and it is said how many were left out."""
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path))
    seen = follow(service)
    send(bench, service, b"line\n" * 5000)
    assert len(seen) == 1000
    bench.loop.advance(1.0)
    send(bench, service, b"line\n")
    assert seen[-1]["left_out"] == "4000"
    assert path.read_bytes().count(b"\n") == 5001


def test_no_more_is_looked_at_than_the_logger_has_time_for(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(_logger_live, "LOOKED_AT", 1000.0)
    service = bench.serve("logger", **file(tmp_path / "lines.log"))
    seen = follow(service, grep="wanted")
    send(bench, service, b"wanted\n" + b"x" * 980 + b"\n")
    send(bench, service, b"wanted\nother\n")
    bench.loop.advance(1.0)
    send(bench, service, b"wanted\n")
    assert [line.get("left_out") for line in seen] == [None, "2"]


@pytest.mark.parametrize(
    ("connections", "takes", "read"),
    [(1, 0.04, READ_SIZE), (1, 0.1, 32_000), (4, 0.0125, READ_SIZE), (4, 0.025, 32_000), (4, 10.0, LEAST_READ)],
)
def test_less_is_read_of_what_takes_more_than_its_share_of_a_turn(served, monkeypatch, connections, takes, read):
    collector = served.connected(Peer("127.0.0.1", 5000))
    collector.makeConnection(transport := SimpleNamespace(read_size=0))
    served.connections = set(range(connections))
    clock = itertools.count(0.0, takes)
    monkeypatch.setattr(_logger_connection, "monotonic", lambda: next(clock))
    collector.dataReceived(b"x" * 63_999 + b"\n")
    assert transport.read_size == read
    served.connections = set()


def test_files_are_put_away_when_asked(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", **file(path))
    assert service.has_files
    assert bench.loop.result(service.rotate()) == []
    send(bench, service, b"one\n")
    (name,) = bench.loop.result(service.rotate())
    assert texts(Path(name)) == [b"one"]
    assert path.read_bytes() == b""


def test_numbers_for_the_metrics(bench, tmp_path):
    service = bench.serve("logger", max_line="16B", oversize="drop", **file(tmp_path / "lines.log"))
    send(bench, service, b"one\n" + b"x" * 17 + b"\n")
    assert service.activity() == ("lines", 2)
    measures = {(measure.name, measure.labels): measure.value for measure in service.measures()}
    assert measures == {("multid_lines_total", ()): 2, ("multid_dropped_total", ("oversize",)): 1}


def test_the_end_of_a_connection_is_an_event_with_its_account(bench, tmp_path, logged):
    service = bench.serve("logger", max_line="16", oversize="drop", **file(tmp_path / "lines.log"))
    send(bench, service, b"one\n" + b"x" * 20 + b"\n")
    (event,) = [event for event in logged if event.get("event") == "lines"]
    assert event["log_level"].name == "info"
    assert event["octets"] == {"received": 25, "written": 4, "dropped": {"oversize": 21}, "pending": 0}
    send(bench, service, b"fine\n")
    assert [event["log_level"].name for event in logged if event.get("event") == "lines"] == ["info", "debug"]


def test_many_connections_share_a_turn(bench, tmp_path):
    service = bench.serve("logger", **file(tmp_path / "lines.log"))
    assert service.read_size == 768 * 1024
    service.connections = set(range(64))
    assert service.read_size == 128 * 1024
    service.connections = set(range(5000))
    assert service.read_size == 16 * 1024
    service.connections = set()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"charset": "utf-16"}, "charset"),
        ({"charset": "klingon"}, "charset"),
        ({"output": []}, "at least 1"),
        ({"output": [{"file": "a/{nonsense}"}]}, "no field of a path"),
        ({"output": [{"file": "a/%Q"}]}, "no field of a path"),
        ({"output": [{"file": "a/{peer}/../b"}]}, "below its folder"),
        ({"output": [{"file": "a/"}]}, "below its folder"),
        ({"output": [{"file": "a", "mode": "0999"}]}, "octal"),
        ({"max_line": "1B"}, "16"),
    ],
)
def test_mistakes_in_the_stanza_are_told(bench, keys, message):
    with pytest.raises(ValueError, match=message):
        bench.serve("logger", **keys)


def test_the_status_shows_account_and_outputs(bench, tmp_path):
    service = bench.serve("logger", **file(tmp_path / "lines.log"))
    send(bench, service, b"one\n")
    details = service.status()["details"]
    assert details["ledger"]["lines"] == {"received": 1, "written": 1, "dropped": {}, "pending": 0}
    assert details["outputs"][0]["problem"] == ""
    service.reopen()


def test_a_fleet_feeds_one_collector(bench, tmp_path):
    """Two loggers forward, one counts frames and one ends lines; the collector parses what they send."""
    path = tmp_path / "all.json"
    collector = bench.serve("logger", parse="syslog", **file(path, format="json"))
    hop = f"tcp:127.0.0.1:{bench.address(collector)[1]}"
    for number, keys in (
        (2, {"framing": "octet-counted", "format": "rfc5424"}),
        (3, {"framing": "lf", "format": "raw"}),
    ):
        listen = f"tcp:0:interface=127.0.0.{number}"
        edge = bench.serve("logger", listen=listen, parse="syslog", output=[{"forward": hop, **keys}])
        before = path.read_bytes().count(b"\n")
        send(bench, edge, "<34>Oct 11 22:14:15 host su[7]: 你好\n".encode() * 3)
        bench.loop.until(lambda before=before: path.read_bytes().count(b"\n") == before + 3)
    for line in path.read_text().splitlines():
        found = json.loads(line)
        assert [found[name] for name in ("severity", "host", "app", "procid", "message")] == [
            "crit", "host", "su", "7", "你好",
        ]  # fmt: skip


def test_lines_go_to_every_output(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind("journal")
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    hop = f"udp:127.0.0.1:{datagrams.getsockname()[1]}"
    service = bench.serve(
        "logger",
        output=[{"file": "lines.log", "format": "raw"}, {"journal": "journal"}, {"forward": hop, "format": "raw"}],
    )
    bench.loop.until(lambda: list(service._outputs.values())[2]._socket)
    send(bench, service, b"line\n")
    assert Path("lines.log").read_bytes() == b"line\n"
    assert journal.recv(1024).startswith(b"MESSAGE=line\n")
    assert datagrams.recv(1024) == b"line"
    assert service.accounts.total().written_lines == 1
    for one in (journal, datagrams):
        one.close()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"forward": "tcp:nowhere"}, "a target is"),
        ({"forward": "unix:/dev/log"}, "are forwarded to"),
        ({"forward": "udp:a:1", "spool": {"dir": "x"}}, "no use for a spool"),
        ({"forward": "tcp:a:1", "framing": "nul"}, "octet-counted"),
        ({"file": "a", "rotate": {"every": "fortnight"}}, "hour"),
        ({"file": "a", "rotate": {"compress": "rar"}}, "gzip"),
    ],
)
def test_mistakes_in_an_output_are_told(bench, output, message):
    with pytest.raises(ValueError, match=message):
        bench.serve("logger", output=[output])


def secure(authority, name: str = "localhost") -> dict:
    return {"listen": "ssl:0:interface=127.0.0.1", "tls": {"certificate": str(authority.issue(name))}}


@pytest.mark.parametrize("proof", ["ours", "none"])
def test_lines_are_forwarded_over_tls(bench, tmp_path, proof):
    """Both ends prove who they are; without a certificate of ours the collector takes nothing."""
    authority = Authority(tmp_path)
    stanza = secure(authority)
    stanza["tls"]["client_ca"] = str(authority.file)
    path = tmp_path / "lines.log"
    collector = bench.serve("logger", **stanza, **file(path, format="raw"))
    tls = {"ca": str(authority.file), "name": "localhost"}
    if proof == "ours":
        tls["certificate"] = str(authority.issue("edge.example"))
    hop = f"ssl:127.0.0.1:{bench.address(collector)[1]}"
    output = [{"forward": hop, "format": "raw", "framing": "lf", "tls": tls}]
    edge = bench.serve("logger", listen="tcp:0:interface=127.0.0.2", output=output)
    send(bench, edge, b"line\n" * 50_000)
    if proof == "ours":
        bench.loop.until(lambda: path.stat().st_size == 250_000)
        bench.loop.advance(0.5)
        bench.loop.until(lambda: edge.accounts.total().written_lines == 50_000 or bench.loop.advance(0.1))
    else:
        bench.loop.until(lambda: edge.status()["details"]["outputs"][0]["problem"])
        assert path.read_bytes() == b""


@pytest.mark.parametrize(("ca", "name"), [("other", "localhost"), ("right", "elsewhere.example")])
def test_a_next_hop_that_cannot_prove_who_it_is_gets_nothing(bench, tmp_path, ca, name):
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "Another Authority")
    path = tmp_path / "lines.log"
    collector = bench.serve("logger", **secure(authority), **file(path))
    tls = {"ca": str((authority if ca == "right" else other).file), "name": name}
    output = [{"forward": f"ssl:127.0.0.1:{bench.address(collector)[1]}", "tls": tls}]
    edge = bench.serve("logger", listen="tcp:0:interface=127.0.0.2", output=output)
    send(bench, edge, b"line\n")
    bench.loop.until(lambda: edge.status()["details"]["outputs"][0]["problem"])
    assert path.read_bytes() == b""
    assert edge.accounts.total().pending_lines == 1


def test_certificates_that_cannot_be_read_are_told_before_anything_runs(bench, tmp_path):
    for tls in ({"ca": str(tmp_path / "none.pem")}, {"certificate": str(tmp_path / "none.pem")}):
        with pytest.raises(ServiceError, match=r"none\.pem"):
            bench.serve("logger", output=[{"forward": "ssl:localhost:6514", "tls": tls}])
    (tmp_path / "empty.pem").write_text("nothing")
    for tls in ({"ca": str(tmp_path / "empty.pem")}, {"certificate": str(tmp_path / "empty.pem")}):
        with pytest.raises(ServiceError, match=r"empty\.pem"):
            bench.serve("logger", output=[{"forward": "ssl:localhost:6514", "tls": tls}])
