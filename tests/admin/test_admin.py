"""The admin socket and HTTP: what may be asked, by whom, and what is answered."""

import json
import os
import socket
import struct
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from multid.admin import service
from multid.admin.history import STEP, History
from multid.admin.metrics import COUNTERS, GAUGES
from multid.admin.page import count, duration, rate, size
from multid.admin.web import Request

ANY = "tcp:0:interface=127.0.0.1"


@pytest.fixture
def stranger(monkeypatch):
    """Somebody whom the kernel calls user 12345."""
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    monkeypatch.setattr(struct, "unpack", lambda form, data: (1, 12345, 12345))


def test_the_status_names_every_service_of_the_file(operate) -> None:
    operated = operate(echo={"listen": ANY}, off={"type": "time", "listen": ANY, "enabled": False})
    status = operated.ask("/status.json").json
    assert status["state"] == "running"
    assert status["pid"] == os.getpid()
    assert status["generation"] == 1
    assert [(one["name"], one["type"], one["state"]) for one in status["services"]] == [
        ("echo", "echo", "up"),
        ("off", "time", "disabled"),
    ]


def test_the_socket_is_for_the_group_and_no_further(operate) -> None:
    operated = operate()
    assert os.stat(operated.admin.path).st_mode & 0o777 == 0o660


@pytest.mark.parametrize(
    "target", ["/", "/status.json", "/metrics", "/healthz", "/readyz", "/status.css", "/status.js"]
)
@pytest.mark.parametrize("tcp", [True, False])
def test_reading_is_public_and_nothing_is_cached_framed_or_loaded_from_elsewhere(operate, target, tcp) -> None:
    answer = operate(echo={"listen": ANY}).ask(target, tcp=tcp)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/reload"),
        ("GET", "/tail/echo"),
        ("GET", "/log-level"),
        ("POST", "/log-level"),
        ("POST", "/rotate"),
        ("POST", "/services/echo/pause"),
        ("GET", "/services/echo/queue"),
    ],
)
def test_over_tcp_there_is_nothing_but_reading(operate, method, target) -> None:
    assert operate(echo={"listen": ANY}).ask(target, method=method, tcp=True).status == 404


def test_a_stranger_reads_and_may_not_change(operate, stranger) -> None:
    operated = operate(echo={"listen": ANY})
    assert operated.ask("/log-level").json == {"": "info"}
    for target in ("/reload", "/log-level", "/rotate", "/services/echo/pause", "/services/echo/retry"):
        answer = operated.ask(target, method="POST")
        assert (answer.status, answer.json["error"]) == (
            403,
            "only root and the daemon's own user may change something",
        )
    assert operated.daemon.reloads.generation == 1


def test_the_daemons_own_user_may_change(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY})
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(struct, "unpack", lambda form, data: (1, 12345, 12345))
    assert operated.ask("/services/echo/pause", method="POST").status == 200


def test_what_is_not_there_and_what_is_asked_the_wrong_way(operate) -> None:
    operated = operate(echo={"listen": ANY})
    assert operated.ask("/nothing").status == 404
    assert operated.ask("/services/ecco/pause", method="POST").json == {
        "error": "no service 'ecco' runs; did you mean 'echo'?"
    }
    assert operated.ask("/services/zzz/pause", method="POST").json == {"error": "no service 'zzz' runs"}
    assert operated.ask("/services/echo/dance", method="POST").json == {"error": "this service has no 'dance'"}
    answer = operated.ask("/reload", method="DELETE")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert operated.ask("/status.json", method="HEAD").body == b""


def test_a_reload_answers_with_the_differences_or_the_mistakes(operate) -> None:
    operated = operate(echo={"listen": ANY})
    operated.configure({"services": {"echo": {"listen": ANY, "limits": {"connections": 3}}}})
    dry = operated.ask("/reload?dry_run=1", method="POST").json
    assert (dry["ok"], dry["dry_run"], dry["generation"]) == (True, True, 1)
    done = operated.ask("/reload", method="POST").json
    assert (done["ok"], done["dry_run"], done["generation"]) == (True, False, 2)
    assert [one["key"] for one in done["differences"]] == [one["key"] for one in dry["differences"]]
    assert operated.daemon.namedServices["echo"].config.limits.connections == 3
    operated.configure({"services": {"echo": {"listne": ANY}}})
    refused = operated.ask("/reload", method="POST")
    assert refused.status == 422
    assert "did you mean 'listen'?" in refused.json["report"]
    assert operated.ask("/status.json").json["refused"]


def test_the_address_of_the_page_changes_with_a_reload_and_a_taken_one_is_refused_at_its_place(operate) -> None:
    operated = operate()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        operated.configure({"admin": {"http": http}})
        reloaded = operated.reload()
        assert reloaded.problems[0].message.startswith(f"admin: cannot listen on {http}: in use by")
        assert reloaded.problems[0].place.line == 2
    assert not operated.reload().is_refused
    assert operated.ask("/healthz", tcp=True).body == b"ok\n"


def test_the_state_directory_cannot_change(operate, tmp_path) -> None:
    operated = operate()
    operated.configure({"state_dir": str(tmp_path / "elsewhere")})
    assert "state_dir cannot change while the daemon runs" in operated.reload().problems[0].message


def test_whoever_holds_connections_over_http_does_not_keep_commands_out(operate, monkeypatch) -> None:
    monkeypatch.setattr(service, "LOOKERS", 2)
    monkeypatch.setattr(service, "CONNECTIONS", 3)
    operated = operate()
    for held in (1, 2, 2):
        operated.connect(tcp=True).send(b"GET / HTTP/1.1\r\nX: ")
        operated.loop.until(lambda held=held: operated.admin.counters.connections == held)
    operated.loop.until(lambda: operated.admin.counters.rejected["connections"] == 1)
    assert operated.ask("/status.json").status == 200


def test_pause_and_resume(operate) -> None:
    operated = operate(echo={"listen": [ANY, "udp:0:interface=127.0.0.1"]})
    echo = operated.daemon.namedServices["echo"]
    assert operated.ask("/services/echo/pause", method="POST").json == {"state": "paused"}
    client = socket.create_connection(next(iter(echo.bindings.values())).listener.socket.getsockname())
    client.setblocking(False)
    client.send(b"patience")
    operated.configure({"services": {"echo": {"listen": [ANY], "limits": {"connections": 9}}}})
    assert not operated.reload().is_refused
    for _ in range(5):
        operated.loop.turn()
    assert echo.counters.connections_total == 0
    assert operated.ask("/services/echo/resume", method="POST").json == {"state": "up"}
    assert operated.read_until(client, b"patience") == b"patience"
    client.close()


def test_levels_are_shown_set_and_reset(operate) -> None:
    operated = operate(echo={"listen": ANY})
    assert operated.ask("/log-level", method="POST", body={"name": "echo", "level": "debug"}).json == {
        "": "info",
        "echo": "debug",
    }
    assert operated.ask("/log-level", method="POST", body={"level": "warn"}).json == {"": "warn", "echo": "debug"}
    assert operated.ask("/log-level", method="POST", body={"name": "echo"}).json == {"": "warn"}
    wrong = operated.ask("/log-level", method="POST", body={"level": "loud"})
    assert (wrong.status, wrong.json["error"]) == (400, "a level is debug, info, warn or error, not 'loud'")


@pytest.mark.parametrize("raw", [b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(operate, raw) -> None:
    assert operate().ask("/log-level", method="POST", raw=raw).json == {"error": "the body must be a JSON object"}


@pytest.mark.parametrize("after", [b"\r\n", b"Host: x\r\n\r\n"])
def test_a_length_of_too_many_digits_is_a_bad_request_and_no_defect(operate, after) -> None:
    operated = operate()
    client = operated.connect()
    client.send(b"GET /healthz HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n" + after)
    assert operated.read_all(client) == b"HTTP/1.1 400 Bad Request\r\n\r\n"


def test_a_body_without_end_is_cut_off(operate) -> None:
    operated = operate()
    client = operated.connect()
    client.send(b"POST /log-level HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    closed = False

    def refused() -> bool:
        nonlocal closed
        try:
            client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except BlockingIOError:
            pass
        except OSError:
            closed = True
        return closed

    operated.loop.until(refused)


def test_rotation_reaches_every_service(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY}, time={"listen": ANY})

    async def rotated():
        return ["old.log"]

    echo = operated.daemon.namedServices["echo"]
    monkeypatch.setattr(echo, "rotate", rotated)
    assert operated.ask("/rotate", method="POST").json == {"echo": ["old.log"], "time": []}
    refused = operated.ask("/services/echo/rotate", method="POST")
    assert (refused.status, refused.json) == (400, {"error": "echo has no files to rotate"})
    monkeypatch.setattr(type(echo), "has_files", True)
    assert operated.ask("/services/echo/rotate", method="POST").json == {"echo": ["old.log"]}


def test_what_a_service_offers_is_called_with_its_arguments(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY})
    echo = operated.daemon.namedServices["echo"]

    async def call(arguments):
        if "id" not in arguments:
            raise ValueError("which one?")
        if arguments["id"] == "lost":
            raise LookupError("no mail 'lost'")
        return arguments

    monkeypatch.setattr(echo, "readings", lambda: {"queue": call})
    monkeypatch.setattr(echo, "actions", lambda: {"retry": call})
    assert operated.ask("/services/echo/queue?id=a%20b&id=c").json == {"id": "c"}
    assert operated.ask("/services/echo/retry", method="POST", body={"id": "x"}).json == {"id": "x"}
    assert operated.ask("/services/echo/queue").json == {"error": "which one?"}
    lost = operated.ask("/services/echo/queue?id=lost")
    assert (lost.status, lost.json["error"]) == (404, "no mail 'lost'")
    assert operated.ask("/services/echo/retry?id=x").status == 404


def test_a_defect_is_a_500_without_a_traceback_and_is_logged(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY})
    monkeypatch.setattr("multid.admin.routes.faults", lambda daemon: 1 // 0)
    seen = []
    leave = operated.daemon.logbook.follow(seen.append)
    from twisted.logger import globalLogPublisher

    globalLogPublisher.addObserver(operated.daemon.logbook)
    answer = operated.ask("/healthz")
    globalLogPublisher.removeObserver(operated.daemon.logbook)
    leave()
    assert answer.status == 500
    assert b"Traceback" not in answer.body
    assert any("log_failure" in event for event in seen)
    monkeypatch.undo()


def test_health_and_readiness(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY, "required": True}, time={"listen": ANY})
    assert operated.ask("/healthz").body == operated.ask("/readyz").body == b"ok\n"
    operated.daemon.namedServices["time"].pause()
    assert operated.ask("/readyz").status == 200
    operated.daemon.namedServices["echo"].pause()
    answer = operated.ask("/readyz")
    assert (answer.status, answer.body) == (503, b"echo paused\n")
    monkeypatch.setattr(operated.daemon.namedServices["time"], "fault", lambda: "its thread has died")
    answer = operated.ask("/healthz")
    assert (answer.status, answer.body) == (503, b"time: its thread has died\n")
    operated.daemon.is_ready = False
    assert operated.ask("/readyz").body.startswith(b"multid starting\n")


def test_the_metrics_are_those_of_the_contract_and_the_process(operate) -> None:
    operated = operate(echo={"listen": [ANY, "udp:0:interface=127.0.0.1"]})
    echo = operated.daemon.namedServices["echo"]
    client = socket.create_connection(next(iter(echo.bindings.values())).listener.socket.getsockname())
    client.send(b"12345")
    operated.loop.until(lambda: echo.counters.sent_bytes == 5)
    echo.counters.rejected["access"] += 2
    echo.counters.tls_failures["not_tls"] += 3
    families = list(text_string_to_metric_families(operated.ask("/metrics").body.decode()))
    values = {
        (sample.name, *(value for key, value in sorted(sample.labels.items()) if key != "service")): sample.value
        for family in families
        for sample in family.samples
    }
    assert values["multid_connections",] == values["multid_connections_total",] == 1
    assert values["multid_received_bytes_total",] == values["multid_sent_bytes_total",] == 5
    assert values["multid_datagrams_total",] == 0
    assert values["multid_rejected_total", "access"] == 2
    assert values["multid_tls_failures_total", "not_tls"] == 3
    assert values["multid_config_last_reload_successful",] == 1
    assert time.time() - values["multid_config_last_reload_success_timestamp_seconds",] < 60
    assert values["process_resident_memory_bytes",] > 0
    names = {family.name for family in families}
    assert names >= {name.removesuffix("_total") for name in [*COUNTERS, *GAUGES]}
    operated.configure({"services": {"eco": {}}})
    operated.reload()
    assert b"multid_config_last_reload_successful 0.0" in operated.ask("/metrics").body
    client.close()


def test_numbers_of_a_kind_are_measured_under_their_names(operate, monkeypatch) -> None:
    from multid.service import Measure

    operated = operate(echo={"listen": ANY})
    measures = [Measure("multid_lines_total", 7), Measure("multid_mail_delivered_total", 3, ("via mx",))]
    monkeypatch.setattr(operated.daemon.namedServices["echo"], "measures", lambda: measures)
    text = operated.ask("/metrics").body.decode()
    assert 'multid_lines_total{service="echo"} 7.0' in text
    assert 'multid_mail_delivered_total{route="via mx",service="echo"} 3.0' in text


def test_a_service_is_followed_through_a_reload_that_begins_it_anew(operate) -> None:
    operated = operate(echo={"listen": ANY})
    follower = operated.connect()
    follower.send(b"GET /tail/echo HTTP/1.1\r\nHost: x\r\n\r\n")
    head = operated.read_until(follower, b"\r\n\r\n")
    assert b"application/x-ndjson" in head
    client = socket.create_connection(address(operated, "echo"))
    client.send(b"abc")
    client.setblocking(False)
    event = event_of(operated.read_until(follower, b"connected"))
    assert event["peer"] == "{}:{}".format(*client.getsockname())
    assert operated.read_until(client, b"abc") == b"abc"
    client.close()
    closed = event_of(operated.read_until(follower, b"closed"))
    assert (closed["end"], closed["received_bytes"], closed["sent_bytes"]) == ("done", 3, 3)
    operated.configure({"services": {"echo": {"type": "discard", "listen": ANY}}})
    operated.reload()
    operated.loop.advance(1)
    with socket.create_connection(address(operated, "echo")):
        assert b"connected" in operated.read_until(follower, b"connected")
    operated.daemon.logbook({"log_format": "hello {service}", "service": "echo", "log_time": 5.0})
    logged = event_of(operated.read_until(follower, b"hello"))
    assert (logged["event"], logged["message"], logged["time"]) == ("log", "hello echo", 5.0)
    for _ in range(20):
        operated.loop.advance(1)
    service = operated.daemon.namedServices["echo"]
    assert service.followers
    follower.close()
    operated.loop.until(lambda: not service.followers)


def test_only_what_is_wanted_is_followed(operate) -> None:
    operated = operate(echo={"listen": ANY, "deny": ["127.0.0.2/32"]})
    follower = operated.connect()
    follower.send(b"GET /tail/echo?peer=127.0.0.2&grep=refused HTTP/1.1\r\nHost: x\r\n\r\n")
    operated.read_until(follower, b"\r\n\r\n")
    socket.create_connection(address(operated, "echo")).close()
    socket.create_connection(address(operated, "echo"), source_address=("127.0.0.2", 0)).close()
    operated.daemon.logbook({"log_format": "hello {service}", "service": "echo", "log_time": 5.0})
    socket.create_connection(address(operated, "echo"), source_address=("127.0.0.2", 0)).close()
    data = operated.read_until(follower, b"event")
    while data.count(b'"event"') < 2:
        data += operated.read_until(follower, b"event")
    assert data.count(b'"refused"') == 2
    follower.close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("severity=error", "no severity 'error'"),
        ("peer=foo", "not 'foo'"),
        ("colour=red", "unexpected keyword argument 'colour'"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(operate, query, said) -> None:
    answer = operate(echo={"listen": ANY}).ask(f"/tail/echo?{query}")
    assert answer.status == 400
    assert said in answer.body.decode()


def test_refusals_and_datagrams_are_followed_too(operate) -> None:
    operated = operate(echo={"listen": [ANY, "udp:0:interface=127.0.0.1"], "deny": ["127.0.0.2/32"]})
    follower = operated.connect()
    follower.send(b"GET /tail/echo HTTP/1.1\r\nHost: x\r\n\r\n")
    operated.read_until(follower, b"\r\n\r\n")
    socket.create_connection(address(operated, "echo"), source_address=("127.0.0.2", 0)).close()
    refused = event_of(operated.read_until(follower, b"refused"))
    assert refused["reason"] == "access"
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.sendto(b"xyz", address(operated, "echo", 1))
    assert event_of(operated.read_until(follower, b"datagram"))["received_bytes"] == 3
    udp.close()


def test_a_follower_that_does_not_read_misses_events_and_is_told_how_many(operate, monkeypatch) -> None:
    monkeypatch.setattr("multid.admin.streams.MOST_PENDING", 10_000)
    operated = operate(echo={"listen": ANY})
    follower = operated.connect()
    follower.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    follower.send(b"GET /tail/echo HTTP/1.1\r\nHost: x\r\n\r\n")
    echo = operated.daemon.namedServices["echo"]
    operated.loop.until(lambda: echo.followers)
    for number in range(5000):
        echo.tell("datagram", "127.0.0.1:1", number=number, text="x" * 100)
    transport = next(iter(operated.admin.connections))
    assert transport.pending < 30_000

    def read_on() -> bool:
        try:
            return b'"number"' not in follower.recv(1 << 20)
        except BlockingIOError:
            return transport.pending == 0

    operated.loop.until(read_on)
    echo.tell("datagram", "127.0.0.1:1", last=True)
    event = event_of(operated.read_until(follower, b'"last"'))
    assert 1000 < event["missed"] < 5000


def test_the_page_is_sent_anew_while_somebody_looks(operate) -> None:
    operated = operate(echo={"listen": ANY})
    viewer = operated.connect(tcp=True)
    viewer.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    first = operated.read_until(viewer, b"</main>")
    assert b"text/event-stream" in first
    assert b"data: <main>" in first
    operated.loop.advance(2)
    operated.read_until(viewer, b"</main>")
    viewer.close()
    operated.loop.until(lambda: not operated.admin.connections)
    operated.loop.advance(2)
    assert not [call for call in operated.loop.getDelayedCalls() if "Live" in str(call)]


def test_only_so_many_may_look_on(operate, monkeypatch) -> None:
    monkeypatch.setattr("multid.admin.streams.MOST_VIEWERS", 1)
    operated = operate()
    viewer = operated.connect(tcp=True)
    viewer.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    operated.read_until(viewer, b"</main>")
    assert operated.ask("/events", tcp=True).status == 503


def test_the_end_of_the_daemon_finishes_streams_and_what_is_being_answered(operate) -> None:
    operated = operate(echo={"listen": ANY})
    idle, viewer, follower = operated.connect(), operated.connect(), operated.connect()
    viewer.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    follower.send(b"GET /tail/echo HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in (viewer, follower):
        operated.read_until(client, b"\r\n\r\n")
    operated.loop.until(lambda: len(operated.admin.connections) == 3)
    stopping = operated.daemon.stopService()
    for client in (idle, viewer, follower):
        operated.read_all(client)
    operated.loop.result(stopping)
    assert operated.daemon.reloads


def test_a_reload_of_an_ending_daemon_is_refused(operate) -> None:
    operated = operate()
    operated.loop.result(operated.daemon.stopService())
    assert operated.reload().problems[0].message == "the daemon is ending"


def test_a_page_that_cannot_be_drawn_ends_its_streams_and_says_so(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY})
    viewer = operated.connect(tcp=True)
    viewer.send(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    operated.read_until(viewer, b"</main>")
    monkeypatch.setattr("multid.admin.status.statuses", lambda daemon: 1 // 0)
    operated.loop.advance(2)
    operated.read_all(viewer)
    monkeypatch.undo()


def test_a_quiet_connection_is_closed(operate) -> None:
    operated = operate()
    client = operated.connect()
    operated.loop.until(lambda: operated.admin.connections)
    for _ in range(130):
        operated.loop.advance(1)
    assert operated.read_all(client) == b""


def test_the_page_shows_everything_escaped(operate) -> None:
    name = "<script>alert(1)<b>"
    operated = operate(
        **{name: {"type": "echo", "listen": ANY}, "bad": {"type": "time", "listen": "tcp:1:interface=192.0.2.1"}}
    )
    operated.daemon.logbook({"log_format": "{peer}", "peer": "<img src=x onerror=alert(1)>", "log_time": 1.0})
    service = operated.daemon.namedServices[name]
    recipient = {"address": "<b>@x", "attempts": 2, "reply": "451 <script>x</script>"}
    mail = {
        "id": "<i>", "state": "<u>", "note": "", "received_at": time.time() - 3700, "sender": "",
        "recipients": [recipient, {**recipient, "address": "y@z"}],
    }  # fmt: skip

    async def queue(arguments):
        return {"mails": [mail], "next": None}

    service.details = lambda: {"queue": {"deferred": 1, "held": 0}, "notes": ["<q>"]}
    service.readings = lambda: {"queue": queue}
    page = operated.ask("/").body.decode()
    assert "&lt;script&gt;alert(1)&lt;b&gt;" in page
    assert "451 &lt;script&gt;x&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("<script") == 1, "its own"
    assert "<img" not in page
    assert "1 deferred" in page
    assert "1 h 1 min" in page
    assert "192.0.2.1" in page
    assert "://" not in page.replace("http://www.w3.org", "")


def test_the_page_draws_the_rates_of_the_last_hour(operate) -> None:
    operated = operate(echo={"listen": ANY})
    assert b"<svg" not in operated.ask("/").body
    operated.daemon.namedServices["echo"].counters.connections_total = 100
    operated.loop.advance(STEP)
    page = operated.ask("/").body.decode()
    assert "<title>5 requests/s, at most 5/s</title>" in page
    assert "<polyline points=" in page
    assert "NaN" not in page


def test_the_history_is_an_hour_long_and_forgets() -> None:
    history = History()
    history.note({"echo": 100})
    history.note({"echo": 140})
    history.note({"echo": 20})
    assert history.rates("echo") == [5.0, 2.0, 1.0]
    for _ in range(500):
        history.note({"echo": 20})
    assert len(history.rates("echo")) == 3600 / STEP
    history.note({"time": 1})
    assert history.rates("echo") == []


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (duration, 0, "0 s"),
        (duration, 59.9, "59 s"),
        (duration, 3600, "1 h 0 min"),
        (duration, 90061, "1 d 1 h"),
        (count, 999, "999"),
        (count, 123456, "123\u202f456"),
        (count, 12_345_678, "12.35 M"),
        (count, 9_876_543_210, "9.88 G"),
        (size, 1023, "1023 B"),
        (size, 1536, "1.5 KiB"),
        (size, 5 << 40, "5.0 TiB"),
        (rate, 0.123, "0.12"),
        (rate, 12.4, "12"),
    ],
)
def test_numbers_are_short(function, value, text) -> None:
    assert function(value) == text


def test_rights_are_those_of_the_peer_of_the_admin_socket() -> None:
    request = Request.__new__(Request)
    left, right = socket.socketpair(socket.AF_UNIX)

    class Holder:
        pass

    request.channel, request.site = Holder(), Holder()
    request.channel.transport, request.site.admin = Holder(), Holder()
    request.channel.transport.socket = left
    request.site.admin.path = "/somewhere/else"
    assert not request.may_change
    request.site.admin.path = ""
    assert request.may_change
    left.close()
    right.close()


def address(operated, name: str, number: int = 0):
    return list(operated.daemon.namedServices[name].bindings.values())[number].listener.socket.getsockname()


def event_of(data: bytes) -> dict:
    """The last event among chunks of HTTP."""
    lines = [line for line in data.split(b"\n") if line.startswith(b"{")]
    return json.loads(lines[-1])


@pytest.mark.parametrize("way", ["removed", "moved", "stopped"])
def test_who_waits_at_an_address_that_goes_is_served(operate, way: str) -> None:
    operated = operate(echo={"listen": ANY})
    echo = operated.daemon.namedServices["echo"]
    name = next(iter(echo.bindings.values())).listener.socket.getsockname()
    echo.pause()
    client = socket.create_connection(name)
    client.setblocking(False)
    operated.clients.append(client)
    client.send(b"asked")
    if way == "stopped":
        ending = operated.daemon.stopService()
    else:
        operated.configure({"services": {"echo": {"listen": "udp:0"}} if way == "moved" else {}})
        assert not operated.reload().is_refused
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(name)
    if way == "moved":
        client.shutdown(socket.SHUT_WR)
    assert operated.read_all(client) == b"asked"
    client.close()
    if way == "stopped":
        operated.loop.result(ending)


def test_a_daemon_that_ends_says_for_how_long(operate, monkeypatch) -> None:
    operated = operate(echo={"listen": ANY})
    started = operated.daemon.started_at
    monkeypatch.setattr(time, "time", lambda: started + 100)
    assert operated.ask("/status.json").json["state_for"] == 100
    client = socket.create_connection(
        next(iter(operated.daemon.namedServices["echo"].bindings.values())).listener.socket.getsockname()
    )
    operated.loop.until(lambda: operated.daemon.namedServices["echo"].connections)
    ending = operated.daemon.stopService()
    monkeypatch.setattr(time, "time", lambda: started + 107)
    said = operated.ask("/status.json").json
    assert (said["state"], said["state_for"], said["uptime"]) == ("ending", 7, 107)
    client.close()
    operated.loop.result(ending)
