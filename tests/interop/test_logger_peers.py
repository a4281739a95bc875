"""Programs that send syslog, and collectors that pass it on, both ways: every message once, its fields right."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.programs import need, unpacked

TEXT = 'hello 你好 \\ "quoted" [x]'


def collector(bench, folder: Path, listen: str = "tcp:0:interface=127.0.0.1", **keys):
    output = [{"file": str(folder / "lines.json"), "format": "json"}]
    return bench.serve("logger", listen=listen, parse="syslog", output=output, **keys)


def port(bench, service) -> int:
    return bench.address(service)[1]


def objects(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "lines.json").read_text().splitlines()]


def run(bench, command: list[str], env=None) -> None:
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with process:
        bench.loop.until(lambda: process.poll() is not None, 30)
        assert process.returncode == 0, process.stderr.read()


@pytest.mark.parametrize("transport", ["-T", "--udp", "--octet-count -T"])
@pytest.mark.parametrize("form", ["--rfc3164", "--rfc5424", "--rfc5424=notime,notq,nohost", ""])
def test_logger(bench, tmp_path, transport, form):
    service = collector(
        bench, tmp_path, "udp:0:interface=127.0.0.1" if "udp" in transport else "tcp:0:interface=127.0.0.1"
    )
    command = [need("logger"), "-n", "127.0.0.1", "-P", str(port(bench, service)), *transport.split(), *form.split()]
    run(bench, [*command, "-p", "mail.err", "-t", "tagged", TEXT])
    bench.loop.until(lambda: objects(tmp_path))
    (found,) = objects(tmp_path)
    assert [found.get(name) for name in ("facility", "severity", "app", "message")] == ["mail", "err", "tagged", TEXT]
    assert "parse_error" not in found
    if "nohost" not in form:
        assert found["host"] == socket.gethostname().split(".")[0]


def test_logger_over_a_unix_socket(bench, tmp_path):
    path = tmp_path / "log.sock"
    service = collector(bench, tmp_path, f"unix:{path}")
    bench.loop.until(path.exists)
    run(bench, [need("logger"), "-u", str(path), "-p", "mail.err", "-t", "tagged", TEXT])
    bench.loop.until(lambda: objects(tmp_path) and not service.connections)
    (found,) = objects(tmp_path)
    assert [found.get(name) for name in ("facility", "severity", "app", "message")] == ["mail", "err", "tagged", TEXT]


@pytest.mark.parametrize("transport", ["-T", "--octet-count -T", "--udp"])
def test_logger_sends_a_file_with_structured_data(bench, tmp_path, transport):
    """Each line is a message, and none is lost between two of them."""
    lines = [f"line {number} 你好" for number in range(50)]
    file = tmp_path / "file"
    file.write_text("".join(f"{line}\n" for line in lines))
    service = collector(bench, tmp_path, f"{'udp' if transport == '--udp' else 'tcp'}:0:interface=127.0.0.1")
    data = ["--msgid", "ID7", "--sd-id", "a@1", "--sd-param", 'b="c"']
    where = [*transport.split(), "-n", "127.0.0.1", "-P", str(port(bench, service))]
    run(bench, [need("logger"), *where, "--rfc5424", *data, "-f", str(file)])
    bench.loop.until(lambda: len(objects(tmp_path)) >= len(lines))
    found = objects(tmp_path)
    assert [one["message"] for one in found] == lines
    assert {(one["msgid"], one["data"]["a@1"]["b"]) for one in found} == {("ID7", "c")}


def loggen(bench, service, count: int, *options: str) -> None:
    root, env = unpacked("syslog-ng-core")
    env |= {"SYSLOGNG_PREFIX": str(root / "usr")}
    rate = "500" if "--dgram" in options else "20000"  # what does not fit into the socket is lost
    speed = ["--rate", rate, "--size", "200", "--number", str(count)]
    run(bench, [str(root / "usr/bin/loggen"), *speed, *options, "127.0.0.1", str(port(bench, service))], env)


LOGGEN = {
    "plain": ["--inet", "--stream"],
    "datagrams": ["--inet", "--dgram"],
    "counted": ["--inet", "--stream", "--syslog-proto"],
    "tls": ["--use-ssl"],
    "counted-tls": ["--use-ssl", "--syslog-proto"],
    "proxied": ["--inet", "--stream", "--proxied"],
}


@pytest.mark.parametrize("way", LOGGEN)
def test_loggen(bench, tmp_path, way):
    listen, keys = "tcp:0:interface=127.0.0.1", {}
    if way == "datagrams":
        listen = "udp:0:interface=127.0.0.1"
    elif "tls" in way:
        listen, keys = (
            "ssl:0:interface=127.0.0.1",
            {"tls": {"certificate": str(Authority(tmp_path).issue("localhost"))}},
        )
    elif way == "proxied":
        keys = {"proxy_protocol": {"from": "127.0.0.1"}}
    service = collector(bench, tmp_path, listen, **keys)
    loggen(bench, service, 500, *LOGGEN[way])
    bench.loop.until(lambda: len(objects(tmp_path)) >= (499 if way == "proxied" else 500))
    found = objects(tmp_path)
    first = 1 if way == "proxied" else 0  # loggen counts its header as a message
    numbers = [int(re.match(r"seq: (\d+),", one["message"])[1]) for one in found]
    assert numbers == list(range(first, 500))
    assert {(one["facility"], one["severity"], one["host"], one["app"]) for one in found} == {
        ("auth", "info", "localhost", "prg00000")
    }
    assert not any("parse_error" in one or "mark" in one for one in found)
    if way == "proxied":
        assert not found[0]["peer"].startswith("127.")


class Peer:
    """Another collector, running: it takes lines on `port` and passes them on or writes them to `file`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder / "peer"
        self.folder.mkdir()
        self.file = self.folder / "received"

    @contextmanager
    def running(self, command: list[str], env) -> Iterator[None]:
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.terminate()

    def rsyslog(self, configuration: str):
        root, env = unpacked("rsyslog")
        file = self.folder / "rsyslog.conf"
        file.write_text(f'global(workDirectory="{self.folder}" maxMessageSize="64k")\n{configuration}')
        modules = root / "usr/lib/x86_64-linux-gnu/rsyslog"
        pid = str(self.folder / "pid")
        return self.running(
            [str(root / "usr/sbin/rsyslogd"), "-nC", "-f", str(file), "-i", pid, "-M", str(modules)], env
        )

    def syslog_ng(self, configuration: str):
        root, env = unpacked("syslog-ng-core")
        file = self.folder / "syslog-ng.conf"
        file.write_text(
            f"@version: 3.38\noptions {{ stats-freq(0); keep-hostname(yes); use-dns(no); }};\n{configuration}"
        )
        (self.folder / "share").symlink_to(root / "usr/share/syslog-ng")
        paths = [f"--{name}={self.folder / name}" for name in ("persist-file", "pidfile", "control")]
        modules = f"--module-path={root / 'usr/lib/syslog-ng/3.38'}"
        command = [str(root / "usr/sbin/syslog-ng"), "-F", "--no-caps", f"--cfgfile={file}", modules, *paths]
        return self.running(command, env)

    def connect(self, bench) -> socket.socket:
        def connected() -> socket.socket | None:
            try:
                return socket.create_connection(("127.0.0.1", self.port))
            except ConnectionRefusedError:
                return None

        return bench.loop.until(connected, 20)


MESSAGES = [f"<34>Oct 11 22:14:{number % 60:02d} edge su[{number}]: message {number} 你好 \\x" for number in range(300)]

RSYSLOG_OUT = {
    "lines": 'protocol="tcp" TCP_Framing="traditional" template="RSYSLOG_ForwardFormat"',
    "counted": 'protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"',
    "datagrams": 'protocol="udp" template="RSYSLOG_SyslogProtocol23Format"',
}
SYSLOG_NG_OUT = {
    "lines": 'network("127.0.0.1" port({port}) transport(tcp))',
    "counted": 'syslog("127.0.0.1" port({port}) transport(tcp))',
    "datagrams": 'network("127.0.0.1" port({port}) transport(udp))',
}


def passed_on(bench, peer: Peer, folder: Path) -> None:
    """Send the messages to the peer, and check that it passed each of them on to the collector."""
    with peer.connect(bench) as client:
        client.sendall("".join(f"{message}\n" for message in MESSAGES).encode())
    bench.loop.until(lambda: len(objects(folder)) >= len(MESSAGES), 20)
    found = {one["procid"]: one for one in objects(folder)}
    assert len(found) == len(objects(folder)) == len(MESSAGES)
    for number in range(len(MESSAGES)):
        one = found[str(number)]
        one["message"] = one["message"].removeprefix(" ")  # rsyslog keeps the blank behind an RFC 3164 tag
        assert [one[name] for name in ("facility", "severity", "host", "app", "message")] == [
            "auth", "crit", "edge", "su", f"message {number} 你好 \\x",
        ]  # fmt: skip
        assert f"-10-11T22:14:{number % 60:02d}" in one["timestamp"]


@pytest.mark.parametrize("way", RSYSLOG_OUT)
def test_rsyslog_forwards_to_us(bench, tmp_path, way):
    listen = "udp:0:interface=127.0.0.1" if way == "datagrams" else "tcp:0:interface=127.0.0.1"
    service = collector(bench, tmp_path, listen)
    peer = Peer(tmp_path)
    action = f'action(type="omfwd" target="127.0.0.1" port="{port(bench, service)}" {RSYSLOG_OUT[way]})'
    configuration = f'module(load="imtcp")\ninput(type="imtcp" port="{peer.port}")\n{action}\n'
    with peer.rsyslog(configuration):
        passed_on(bench, peer, tmp_path)


@pytest.mark.parametrize("way", SYSLOG_NG_OUT)
def test_syslog_ng_forwards_to_us(bench, tmp_path, way):
    listen = "udp:0:interface=127.0.0.1" if way == "datagrams" else "tcp:0:interface=127.0.0.1"
    service = collector(bench, tmp_path, listen)
    peer = Peer(tmp_path)
    destination = SYSLOG_NG_OUT[way].format(port=port(bench, service))
    configuration = (
        f'source s {{ network(ip("127.0.0.1") port({peer.port}) transport(tcp)); }};\n'
        f"destination d {{ {destination}; }};\nlog {{ source(s); destination(d); }};\n"
    )
    with peer.syslog_ng(configuration):
        passed_on(bench, peer, tmp_path)


RSYSLOG_FILE = """
module(load="imtcp")
input(type="imtcp" port="{port}")
module(load="imudp")
input(type="imudp" port="{port}" address="127.0.0.1")
template(name="fields" type="string"
  string="%syslogfacility-text% %syslogseverity-text% %hostname% %app-name% %procid% %timestamp:::date-rfc3339% %msg%
")
action(type="omfile" file="{file}" template="fields")
"""
SYSLOG_NG_FILE = """
source s {{
  {source}(ip("127.0.0.1") port({port}) transport(tcp));
  syslog(ip("127.0.0.1") port({port}) transport(udp));
}};
destination d {{ file("{file}" template("$FACILITY $LEVEL $HOST $PROGRAM $PID $ISODATE $MESSAGE\n")); }};
log {{ source(s); destination(d); }};
"""


def passed_to(bench, peer: Peer, folder: Path, framing: str) -> None:
    """Send the messages to an edge that forwards to the peer, and check what the peer wrote."""
    peer.connect(bench).close()
    forward = {"forward": f"tcp:127.0.0.1:{peer.port}", "framing": framing, "spool": {"dir": str(folder / "spool")}}
    if framing == "datagrams":
        forward = {"forward": f"udp:127.0.0.1:{peer.port}"}
    edge = bench.serve("logger", parse="syslog", output=[forward])
    client = bench.connect(edge)
    client.setblocking(True)
    for end in range(50, len(MESSAGES) + 1, 50):  # what does not fit into the peer's UDP socket would be lost
        client.sendall("".join(f"{message}\n" for message in MESSAGES[end - 50 : end]).encode())
        bench.loop.until(lambda end=end: peer.file.exists() and peer.file.read_bytes().count(b"\n") >= end, 20)
    lines = peer.file.read_text().splitlines()
    assert len(lines) == len(MESSAGES)
    for number, line in enumerate(lines):
        *head, when, text = re.split(r" +", line, maxsplit=6)
        assert head == ["auth", "crit", "edge", "su", str(number)]
        assert f"-10-11T22:14:{number % 60:02d}" in when
        assert text == f"message {number} 你好 \\x"


@pytest.mark.parametrize("framing", ["lf", "octet-counted", "datagrams"])
def test_we_forward_to_rsyslog(bench, tmp_path, framing):
    peer = Peer(tmp_path)
    with peer.rsyslog(RSYSLOG_FILE.format(port=peer.port, file=peer.file)):
        passed_to(bench, peer, tmp_path, framing)


@pytest.mark.parametrize(
    ("framing", "source"), [("lf", "network"), ("octet-counted", "syslog"), ("datagrams", "syslog")]
)
def test_we_forward_to_syslog_ng(bench, tmp_path, framing, source):
    peer = Peer(tmp_path)
    flags = source if source == "syslog" else "network"
    configuration = SYSLOG_NG_FILE.format(source=flags, port=peer.port, file=peer.file)
    if source == "network":
        configuration = configuration.replace("transport(tcp)", "transport(tcp) flags(syslog-protocol)")
    with peer.syslog_ng(configuration):
        passed_to(bench, peer, tmp_path, framing)
