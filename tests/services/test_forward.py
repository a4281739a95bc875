"""Forward: octets and datagrams reach the target and come back, ends and pauses too."""

import random
import socket
import ssl
import struct

import pytest
from pydantic import ValidationError
from twisted.python.failure import Failure

from multid.net.datagram_relay import Session
from multid.net.proxy import Proxied, parse_header
from multid.service import ServiceError
from multid.services.forward import ForwardConfig
from tests.certificates import Authority
from tests.conftest import Bench

UDP = "udp:0:interface=127.0.0.1"
OTHER = "tcp:0:interface=127.0.0.2"


@pytest.fixture
def target(bench: Bench):
    """A listening socket that plays the target."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        yield sock


def text(address, kind="tcp") -> str:
    return f"{kind}:{address[0]}:{address[1]}"


def accept(bench: Bench, target: socket.socket) -> socket.socket:
    def attempt():
        try:
            return target.accept()[0]
        except BlockingIOError:
            return None

    sock = bench.loop.until(attempt)
    sock.setblocking(False)
    bench.clients.append(sock)
    return sock


def through(bench: Bench, target: socket.socket, **keys):
    """Return a forwarder with both ends of a connection through it."""
    service = bench.serve("forward", to=text(target.getsockname()), **keys)
    client = bench.connect(service)
    far = accept(bench, target)
    bench.loop.until(lambda: next(iter(service.connections)).reading)
    return service, client, far


def test_echo_through_a_forwarder_is_whole_after_half_close(bench: Bench) -> None:
    echo = bench.serve("echo")
    service = bench.serve("forward", to=text(bench.address(echo)))
    client = bench.connect(service)
    sent = random.Random(1).randbytes(3 << 20)
    assert bench.exchange(client, sent) == sent
    client.close()
    bench.loop.until(lambda: not service.connections and not echo.connections)
    assert bench.runtime.descriptors.taken == 0


def test_what_the_client_says_before_the_target_is_reached_is_not_lost(bench: Bench, target) -> None:
    service = bench.serve("forward", to=text(target.getsockname()))
    client = bench.connect(service)
    client.send(b"early")
    assert bench.read(accept(bench, target), 5) == b"early"


def test_the_targets_end_of_stream_reaches_the_client_who_may_go_on(bench: Bench, target) -> None:
    service, client, far = through(bench, target)
    far.send(b"bye")
    far.shutdown(socket.SHUT_WR)
    assert bench.read_all(client) == b"bye"
    client.send(b"still talking")
    assert bench.read(far, 13) == b"still talking"
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(far) == b""
    bench.loop.until(lambda: not service.connections)


def test_a_target_that_resets_takes_the_client_along(bench: Bench, target) -> None:
    service, client, far = through(bench, target)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    bench.loop.until(lambda: not service.connections)
    assert transport.end == "target lost"
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_client_that_resets_takes_the_target_along(bench: Bench, target) -> None:
    service, client, far = through(bench, target)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    bench.loop.until(lambda: not service.connections)

    def gone() -> bool:
        try:
            return far.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    bench.loop.until(gone)


def test_what_a_client_said_before_it_left_is_given_to_the_target(bench: Bench, target) -> None:
    service, client, far = through(bench, target)
    client.send(b"last words")
    client.close()
    bench.loop.until(lambda: not service.connections or service.counters.received_bytes == 10)
    assert bench.read(far, 10) == b"last words"
    assert bench.read_all(far) == b""


def left_with_much_to_take(bench: Bench, target: socket.socket):
    """Return a stopping forwarder whose client has left, its end, and a target that has yet to take a lot."""
    target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    service, client, far = through(bench, target, timeouts={"idle": "5s", "stall": "30s"})
    relay = next(iter(service.connections)).application
    relay._far.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sent = stuck = 0
    while stuck < 20:
        bench.loop.turn()
        stuck = stuck + 1 if relay._far.pending > 16384 else 0
        sent += client.send(b"x" * 4096) if not stuck else 0
    bench.loop.until(lambda: service.counters.received_bytes == sent)
    bench.loop.advance(1)
    bench.loop.advance(5)
    assert bench.read_all(client) == b""
    client.close()
    bench.loop.until(lambda: not service.connections)
    assert (len(service.outliving), bench.runtime.descriptors.taken) == (1, 1)
    stopped: list[None] = []
    service.stopService().addCallback(stopped.append)
    bench.loop.turn()
    assert not stopped
    return service, stopped, far, sent


def test_a_service_that_stops_gives_targets_what_clients_said_before_they_left(bench: Bench, target) -> None:
    service, stopped, far, sent = left_with_much_to_take(bench, target)
    assert len(bench.read_all(far)) == sent
    bench.loop.until(lambda: stopped)
    assert (service.outliving, bench.runtime.descriptors.taken) == (set(), 0)
    assert not bench.loop.getDelayedCalls()


@pytest.mark.parametrize("way", ["stall", "abort"])
def test_a_target_that_takes_nothing_holds_up_no_end(bench: Bench, target, way: str) -> None:
    service, stopped, _far, _sent = left_with_much_to_take(bench, target)
    if way == "abort":
        service.abort()
    else:
        bench.loop.advance(29)
        assert not stopped
        bench.loop.advance(1)
    bench.loop.until(lambda: stopped)
    assert bench.runtime.descriptors.taken == 0


def test_the_client_is_read_no_faster_than_the_target_takes_it(bench: Bench, target) -> None:
    service, client, _far = through(bench, target, timeouts={"stall": "30s"})
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    stuck, before = 0, -1
    while stuck < 20:
        try:
            client.send(b"x" * 65536)
        except BlockingIOError:
            pass
        bench.loop.turn()
        stuck = stuck + 1 if transport.received_bytes == before else 0
        before = transport.received_bytes
    assert not transport.reading
    bench.loop.advance(1)
    bench.loop.advance(28)
    assert service.connections
    bench.loop.advance(2)
    bench.loop.until(lambda: not service.connections)
    assert transport.end == "target stall"


def test_an_idle_connection_ends_on_both_sides(bench: Bench, target) -> None:
    service, client, far = through(bench, target, timeouts={"idle": "10s"})
    bench.loop.until(lambda: service.connections)
    bench.loop.advance(1)
    bench.loop.advance(11)
    assert bench.read_all(client) == b""
    client.close()
    assert bench.read_all(far) == b""


def closed_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return text(sock.getsockname())


def test_the_next_target_takes_over_from_one_that_cannot_be_reached(bench: Bench, target, logged) -> None:
    service = bench.serve("forward", to=[closed_port(), "unix:/nonexistent/socket", text(target.getsockname())])
    client = bench.connect(service)
    accept(bench, target).send(b"here")
    assert bench.read(client, 4) == b"here"
    assert service.counters.errors == 2
    assert len([event for event in logged if "could not be reached" in event["log_format"]]) == 1


def test_a_client_is_closed_when_no_target_can_be_reached(bench: Bench) -> None:
    service = bench.serve("forward", to=closed_port())
    client = bench.connect(service)
    assert bench.read_all(client) == b""
    client.close()
    bench.loop.until(lambda: not service.connections)
    assert bench.runtime.descriptors.taken == 0


def test_a_target_that_does_not_answer_is_given_up_in_time(bench: Bench) -> None:
    """A full backlog drops connection requests."""
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        service = bench.serve("forward", to=text(full.getsockname()), connect_timeout="5s")
        client = bench.connect(service)
        bench.loop.until(lambda: service.connections)
        bench.loop.advance(4.9)
        assert service.connections
        bench.loop.advance(0.2)
        assert bench.read_all(client) == b""


def test_a_client_that_leaves_while_the_target_is_sought_ends_the_search(bench: Bench) -> None:
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        service = bench.serve("forward", to=[text(full.getsockname()), closed_port()])
        client = bench.connect(service)
        transport = bench.loop.until(lambda: next(iter(service.connections), None))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        bench.loop.advance(1)
        bench.loop.until(lambda: not service.connections)
        assert transport.end == "reset"
        assert service.counters.errors == 0
        assert bench.runtime.descriptors.taken == 0


def test_targets_take_turns(bench: Bench) -> None:
    first, second = bench.serve("qotd", text="1", eol="none"), bench.serve("qotd", text="2", eol="none", listen=OTHER)
    service = bench.serve("forward", to=[text(bench.address(first)), text(bench.address(second))], choose="turns")
    assert [bench.read_all(bench.connect(service)) for _ in range(4)] == [b"1", b"2", b"1", b"2"]


def test_a_name_is_resolved(bench: Bench) -> None:
    quotes = bench.serve("qotd", text="named", eol="none")
    service = bench.serve("forward", to=f"tcp:localhost:{bench.address(quotes)[1]}")
    assert bench.read_all(bench.connect(service)) == b"named"


def test_a_unix_socket_is_a_target(bench: Bench, tmp_path) -> None:
    bench.serve("qotd", text="local", eol="none", listen=f"unix:{tmp_path}/q.sock")
    service = bench.serve("forward", to=f"unix:{tmp_path}/q.sock")
    assert bench.read_all(bench.connect(service)) == b"local"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_target_is_told_who_the_client_is(bench: Bench, target, version: str) -> None:
    _, client, far = through(bench, target, send_proxy=version)
    client.send(b"!")
    size = (
        28
        if version == "v2"
        else len(b"PROXY TCP4 127.0.0.1 127.0.0.1  \r\n") + len(f"{client.getsockname()[1]}{client.getpeername()[1]}")
    )
    told = bench.read(far, size + 1)
    assert parse_header(told) == (Proxied(client.getsockname(), client.getpeername()), size)
    assert told[size:] == b"!"


def test_a_client_of_a_unix_socket_has_no_address_to_tell(bench: Bench, target, tmp_path) -> None:
    service = bench.serve("forward", to=text(target.getsockname()), send_proxy="v1", listen=f"unix:{tmp_path}/in.sock")
    bench.connect(service)
    assert bench.read(accept(bench, target), 15) == b"PROXY UNKNOWN\r\n"


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


def test_tls_to_the_target_is_verified(bench: Bench, authority, tmp_path) -> None:
    certificate = authority.issue("127.0.0.1")
    ssl_listen = "ssl:0:interface=127.0.0.1"
    echo = bench.serve("echo", listen=ssl_listen, tls={"certificate": str(certificate)})
    to = text(bench.address(echo), "ssl")
    service = bench.serve("forward", to=to, trust=str(authority.file))
    client = bench.connect(service)
    client.send(b"through TLS")
    assert bench.read(client, 11) == b"through TLS"
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(client) == b""
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "Stranger")
    service = bench.serve("forward", to=to, trust=str(stranger.file), listen=OTHER)
    assert bench.read_all(bench.connect(service)) == b""
    assert service.counters.errors == 1


def test_a_target_that_does_not_speak_tls_is_given_up_in_time(bench: Bench, authority, target) -> None:
    to = text(target.getsockname(), "ssl")
    service = bench.serve("forward", to=to, trust=str(authority.file), connect_timeout="5s")
    client = bench.connect(service)
    far = accept(bench, target)
    assert bench.read(far, 1) == b"\x16"
    bench.loop.advance(5)
    assert bench.read_all(client) == b""
    assert service.counters.errors == 1


def test_a_service_that_stops_while_the_target_is_sought_wants_none(bench: Bench, target) -> None:
    service = bench.serve("forward", to=text(target.getsockname()))
    client = bench.connect(service)
    bench.loop.until(lambda: service.connections)
    stopping = service.stopService()
    assert bench.read_all(client) == b""
    with pytest.raises(ConnectionResetError):
        bench.read_all(accept(bench, target))
    client.close()
    bench.loop.result(stopping)


def test_tls_from_the_client(bench: Bench, authority, target) -> None:
    certificate = authority.issue("127.0.0.1")
    service = bench.serve(
        "forward",
        to=text(target.getsockname()),
        listen="ssl:0:interface=127.0.0.1",
        tls={"certificate": str(certificate)},
    )
    context = ssl.create_default_context(cafile=authority.file)
    client = context.wrap_socket(bench.connect(service), server_hostname="127.0.0.1", do_handshake_on_connect=False)
    bench.clients.append(client)

    def step(action):
        def attempt():
            try:
                return (action(),)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

        return bench.loop.until(attempt)[0]

    step(client.do_handshake)
    step(lambda: client.send(b"secret"))
    far = accept(bench, target)
    assert bench.read(far, 6) == b"secret"
    far.send(b"reply")
    far.close()
    assert step(lambda: client.recv(10)) == b"reply"


@pytest.mark.parametrize(("content", "why"), [(None, "cannot be read"), ("nothing", "holds no certificate")])
def test_a_file_of_authorities_that_is_none_is_a_problem(bench: Bench, tmp_path, content, why) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ServiceError, match=why):
        bench.serve("forward", to="ssl:127.0.0.1:1", trust=str(file))


@pytest.mark.parametrize(
    "keys",
    [
        {"to": []},
        {"to": "udp:127.0.0.1:1"},
        {"to": "tcp:127.0.0.1:1", "listen": "udp:1"},
        {"to": ["tcp:127.0.0.1:1", "udp:127.0.0.1:1"]},
    ],
)
def test_what_comes_in_one_way_cannot_go_out_another(keys) -> None:
    with pytest.raises(ValidationError):
        ForwardConfig(**{"listen": "tcp:1", **keys})


@pytest.fixture
def far_udp():
    """A UDP socket that plays the target."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


def received(bench: Bench, sock: socket.socket):
    def attempt():
        try:
            return sock.recvfrom(65536)
        except BlockingIOError:
            return None

    return bench.loop.until(attempt)


def test_datagrams_of_each_client_go_and_come_by_a_way_of_their_own(bench: Bench, far_udp) -> None:
    service = bench.serve("forward", to=text(far_udp.getsockname(), "udp"), listen=UDP)
    clients = [bench.connect(service) for _ in range(2)]
    ways = []
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
        data, way = received(bench, far_udp)
        assert data == b"%d" % number
        ways.append(way)
    assert ways[0] != ways[1]
    for number, way in reversed(list(enumerate(ways))):
        far_udp.sendto(b"to %d" % number, way)
        far_udp.sendto(b"x" * 60000, way)
        assert bench.receive(clients[number]) == b"to %d" % number
        assert len(bench.receive(clients[number])) == 60000
    assert service.details()["sessions"] == 2
    bench.loop.advance(59)
    clients[0].send(b"")
    assert received(bench, far_udp)[0] == b""
    bench.loop.advance(1)
    assert list(service.sessions) == [clients[0].getsockname()]
    bench.loop.advance(60)
    assert not service.sessions
    assert bench.runtime.descriptors.taken == service.admission.connections == 0


def test_a_name_of_a_datagram_target_is_resolved_and_what_waited_is_sent(bench: Bench) -> None:
    family, _, _, _, address = socket.getaddrinfo("localhost", 0, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as far:
        far.bind(address)
        far.setblocking(False)
        service = bench.serve("forward", to=f"udp:localhost:{far.getsockname()[1]}", listen=UDP)
        client = bench.connect(service)
        for number in range(3):
            client.send(b"%d" % number)
        assert [received(bench, far)[0] for _ in range(3)] == [b"0", b"1", b"2"]


def test_a_session_that_ends_while_its_target_is_sought_stays_ended(bench: Bench, far_udp, monkeypatch) -> None:
    monkeypatch.setattr(Session, "open", lambda session: None)
    service = bench.serve("forward", to="udp:somewhere.example:9", listen=UDP)
    bench.connect(service).send(b"?")
    session = bench.loop.until(lambda: next(iter(service.sessions.values()), None))
    session.close()
    session._connect([(socket.AF_INET, socket.SOCK_DGRAM, 0, "", far_udp.getsockname())])
    session._unresolved(Failure(OSError("no such name")))
    session.doRead()
    assert session.fileno() == -1
    assert bench.runtime.descriptors.taken == 0


def test_a_target_that_no_route_leads_to_ends_the_session(bench: Bench) -> None:
    service = bench.serve("forward", to="udp:255.255.255.255:9", listen=UDP)
    bench.connect(service).send(b"?")
    bench.loop.until(lambda: service.counters.errors == 1)
    assert not service.sessions
    assert bench.runtime.descriptors.taken == 0


def test_a_name_that_is_none_ends_the_session(bench: Bench) -> None:
    service = bench.serve("forward", to="udp:no-such-host.invalid:1", listen=UDP)
    bench.connect(service).send(b"?")
    bench.loop.until(lambda: service.counters.errors == 1)
    assert not service.sessions


def test_a_target_that_refuses_ends_the_session_and_the_next_datagram_begins_another(bench: Bench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        to = text(sock.getsockname(), "udp")
    service = bench.serve("forward", to=to, listen=UDP)
    client = bench.connect(service)
    for number in range(2):
        client.send(b"?")
        bench.loop.until(lambda: service.counters.datagrams == number + 1 and not service.sessions)  # noqa: B023
    assert service.counters.dropped["target"] >= 2
    assert bench.runtime.descriptors.taken == 0


def test_errors_of_a_targets_host_are_counted_wherever_they_show(bench: Bench, far_udp) -> None:
    service = bench.serve("forward", to=text(far_udp.getsockname(), "udp"), listen=UDP)
    bench.connect(service).send(b"first")
    received(bench, far_udp)
    (session,) = service.sessions.values()
    session.stopReading()
    far_udp.close()
    session._send(b"refused")
    session._send(b"told so")
    assert service.guard.refused["target"] == 1
    session._send(b"refused")
    session.doRead()
    assert service.guard.refused["target"] == 2
    session.close()
    session._send(b"too late")
    session.doRead()
    assert service.guard.refused["target"] == 2


def test_sessions_are_limited_like_connections(bench: Bench, far_udp) -> None:
    service = bench.serve("forward", to=text(far_udp.getsockname(), "udp"), listen=UDP, limits={"per_peer": 1})
    bench.connect(service).send(b"one")
    bench.connect(service).send(b"two")
    bench.loop.until(lambda: service.counters.dropped["per_peer"] == 1)
    bench.runtime.descriptors.limit = 0
    service.sessions[next(iter(service.sessions))].close()
    bench.connect(service).send(b"three")
    bench.loop.until(lambda: service.counters.dropped["descriptors"] == 1)
    assert service.admission.connections == 0


def test_a_stranger_gets_no_more_than_it_sent(bench: Bench, far_udp, monkeypatch) -> None:
    service = bench.serve("forward", to=text(far_udp.getsockname(), "udp"), listen=UDP)
    monkeypatch.setattr(service.guard, "any_size", lambda host: False)
    client = bench.connect(service)
    client.send(b"x" * 100)
    way = received(bench, far_udp)[1]
    far_udp.sendto(b"y" * 50, way)
    far_udp.sendto(b"z" * 50, way)
    assert bench.receive(client) == b"y" * 50
    bench.loop.until(lambda: service.counters.dropped["size"] == 1)


def test_a_service_that_stops_ends_its_sessions(bench: Bench, far_udp) -> None:
    service = bench.serve("forward", to=text(far_udp.getsockname(), "udp"), listen=UDP)
    bench.connect(service).send(b"one")
    bench.loop.until(lambda: service.sessions)
    bench.loop.result(service.stopService())
    assert not service.sessions
