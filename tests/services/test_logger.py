"""The logger, over real sockets."""

import os
import re
from pathlib import Path

from multid.lines.escape import unescape

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
    assert service.ledger().balanced


def test_the_account_balances_and_probes_are_counted(bench, tmp_path):
    path = tmp_path / "lines.log"
    service = bench.serve("logger", max_line="16", oversize="drop", **file(path))
    send(bench, service, b"short\n" + b"long" * 10 + b"\nend")
    send(bench, service, b"")
    account = service.ledger()
    assert account.balanced
    assert (account.received_octets, account.received_lines, account.written_lines) == (50, 3, 2)
    assert dict(account.dropped_octets) == {"oversize": 41}
    assert service.probes == 1


def test_a_new_file_has_the_mode_asked_for_under_any_umask(bench, tmp_path):
    before = os.umask(0o077)
    try:
        bench.serve("logger", **file(tmp_path / "lines.log"))
        assert (tmp_path / "lines.log").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
