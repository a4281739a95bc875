"""TLS: our certificate, the client's, a handshake that does not come, and certificates that change."""

import os
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from multid.config.model import Tls
from multid.net.tls import server_context
from multid.net.transport import HANDSHAKE
from multid.service import ServiceError
from tests.certificates import Authority
from tests.conftest import Bench

SSL = "ssl:0:interface=127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.issue("127.0.0.1")


class Client:
    """A TLS client whose every step is a turn of the bench's loop."""

    def __init__(self, bench: Bench, service, authority: Authority, certificate: Path | None = None, **context) -> None:
        self.bench = bench
        settings = ssl.create_default_context(cafile=authority.file)
        for name, value in context.items():
            setattr(settings, name, value)
        if certificate is not None:
            settings.load_cert_chain(certificate)
        self.sock = settings.wrap_socket(
            bench.connect(service), server_hostname="127.0.0.1", do_handshake_on_connect=False
        )
        bench.clients.append(self.sock)

    def step(self, action):
        def attempt():
            try:
                return (action(),)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

        return self.bench.loop.until(attempt)[0]

    def handshake(self) -> "Client":
        self.step(self.sock.do_handshake)
        return self

    def ask(self, data: bytes) -> bytes:
        self.step(lambda: self.sock.send(data))
        return self.step(lambda: self.sock.recv(65536))


def test_a_client_that_trusts_the_authority_is_served(bench: Bench, authority, certificate) -> None:
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(certificate)})
    client = Client(bench, service, authority).handshake()
    assert client.ask(b"private") == b"private"
    assert client.sock.version() == "TLSv1.3"


def test_a_version_below_the_minimum_is_refused_and_recorded_as_such(
    bench: Bench, authority, certificate, logged
) -> None:
    tls = {"certificate": str(certificate), "minimum": "1.3"}
    service = bench.serve("echo", listen=SSL, tls=tls, record=True)
    client = Client(bench, service, authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        client.handshake()
    bench.loop.until(lambda: not service.connections)
    assert [event["end"] for event in logged if event.get("event") == "connection"] == ["handshake"]
    assert service.counters.tls_failures == {"version": 1}


def test_client_certificates_of_the_authority_are_demanded(bench: Bench, authority, certificate, tmp_path) -> None:
    tls = {"certificate": str(certificate), "client_ca": str(authority.file)}
    service = bench.serve("echo", listen=SSL, tls=tls)
    good = Client(bench, service, authority, authority.issue("client.example")).handshake()
    assert good.ask(b"known") == b"known"
    strangers = Authority(tmp_path, "Strangers")
    for own in (None, strangers.issue("client.example"), authority.issue("late.example", days=-1)):
        refused = Client(bench, service, authority, own)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            refused.handshake().ask(b"let me in")
    bench.loop.until(lambda: len(service.connections) == 1)
    assert service.counters.sent_bytes > 0


def test_a_handshake_that_does_not_come_ends_the_connection(bench: Bench, authority, certificate) -> None:
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(certificate)})
    silent = bench.connect(service)
    served = Client(bench, service, authority).handshake()
    assert served.ask(b"1") == b"1"
    transports = {transport.handshaking_since is None: transport for transport in service.connections}
    bench.loop.advance(HANDSHAKE - 1)
    assert len(service.connections) == 2
    bench.loop.advance(1)
    bench.loop.until(lambda: len(service.connections) == 1)
    assert transports[False].end == "handshake"
    with pytest.raises(ConnectionResetError):
        silent.recv(1)
    assert served.ask(b"2") == b"2"


@pytest.mark.parametrize("said", [b"EHLO client.example\r\n", b"GET / HTTP/1.0\r\n\r\n"])
def test_a_client_that_speaks_no_tls_is_counted_and_told_of(bench: Bench, certificate, logged, said: bytes) -> None:
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(certificate)})
    clients = []
    for number in (1, 2):
        clients.append(bench.connect(service))
        clients[-1].send(said)
        bench.loop.until(lambda number=number: service.counters.tls_failures["not_tls"] == number)
    (event,) = [event for event in logged if "handshakes" in event["log_format"]]
    assert event["peer"] == f"127.0.0.1:{clients[0].getsockname()[1]}", "the second is told of later"
    assert (event["service"], event["reason"], event["count"]) == ("echo", "not_tls", 1)
    assert sum(service.counters.tls_failures.values()) == 2


def test_a_client_that_refuses_our_certificate_is_counted_with_its_reason(
    bench: Bench, authority, certificate, tmp_path, logged
) -> None:
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(certificate)})
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(bench, service, Authority(tmp_path, "Strangers")).handshake()
    bench.loop.until(lambda: not service.connections)
    assert service.counters.tls_failures == {"refused": 1}
    (why,) = [event["why"] for event in logged if "handshakes" in event["log_format"]]
    assert "alert unknown ca" in why


def test_each_way_a_handshake_fails_has_its_reason(bench: Bench, authority, certificate) -> None:
    tls = {"certificate": str(certificate), "client_ca": str(authority.file)}
    service = bench.serve("echo", listen=SSL, tls=tls)
    failures = service.counters.tls_failures
    bench.connect(service).close()
    bench.loop.until(lambda: failures["closed"] == 1)
    Client(bench, service, authority).handshake()
    bench.loop.until(lambda: failures["certificate"] == 1)
    bench.connect(service)
    bench.loop.until(lambda: service.connections)
    bench.loop.advance(HANDSHAKE)
    bench.loop.until(lambda: failures["timeout"] == 1)


def test_a_handshake_that_the_end_of_the_service_cuts_short_has_not_failed(bench: Bench, certificate) -> None:
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(certificate)})
    bench.connect(service)
    bench.loop.until(lambda: service.connections)
    stopping = service.stopService()
    service.abort()
    bench.loop.result(stopping)
    assert not service.counters.tls_failures


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 16, b"\x16\x03\x01\xff\xff"])
def test_what_is_no_tls_ends_without_a_traceback(bench: Bench, certificate, logged, junk: bytes) -> None:
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(certificate)})
    client = bench.connect(service)
    client.send(junk)
    client.shutdown(socket.SHUT_WR)
    bench.loop.until(lambda: service.counters.connections_total and not service.connections)
    assert not [event for event in logged if "log_failure" in event]


def test_a_reload_takes_the_new_certificate_and_leaves_connections_alone(
    bench: Bench, authority, certificate, tmp_path
) -> None:
    file = tmp_path / "live.pem"
    shutil.copy(certificate, file)
    service = bench.serve("echo", listen=SSL, tls={"certificate": str(file)})
    before = Client(bench, service, authority).handshake()
    first = before.sock.getpeercert()["serialNumber"]
    shutil.copy(authority.issue("127.0.0.1"), file)
    bench.retune(service, listen=SSL, tls={"certificate": str(file)})
    after = Client(bench, service, authority).handshake()
    assert after.sock.getpeercert()["serialNumber"] != first
    assert before.ask(b"still here") == b"still here"


def keys_of(authority: Authority, tmp_path: Path, name: str) -> dict[str, str]:
    """Keys of `tls` with something wrong in them."""
    good = authority.issue("good.example")
    other = authority.issue("other.example")
    (tmp_path / "empty").write_text("nothing")
    (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    os.mkfifo(tmp_path / "fifo")
    return {
        "missing": {"certificate": str(tmp_path / "missing")},
        "empty": {"certificate": str(tmp_path / "empty")},
        "broken": {"certificate": str(tmp_path / "broken")},
        "no key": {"certificate": str(authority.file)},
        "missing key": {"certificate": str(good), "key": str(tmp_path / "missing")},
        "other key": {"certificate": str(good), "key": str(other)},
        "waiting key": {"certificate": str(good), "key": str(tmp_path / "fifo")},
        "empty ca": {"certificate": str(good), "client_ca": str(tmp_path / "empty")},
        "broken ca": {"certificate": str(good), "client_ca": str(tmp_path / "broken")},
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "missing cannot be read: No such file"),
        ("empty", "empty holds no certificate"),
        ("broken", "broken holds no certificate that can be used"),
        ("no key", "Authority.pem holds no private key of .*Authority.pem"),
        ("missing key", "no private key can be read from .*missing"),
        ("waiting key", "fifo holds no private key of .*good.example.pem"),
        ("other key", "other.example.pem holds no private key of .*good.example.pem"),
        ("empty ca", "empty holds no certificate"),
        ("broken ca", "broken holds no certificate that can be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem_with_its_name(authority, tmp_path, name: str, message: str) -> None:
    tls = Tls(**keys_of(authority, tmp_path, name))
    with pytest.raises(ValueError, match=message):
        server_context(tls)


def test_a_service_with_such_a_file_does_not_start(bench: Bench, tmp_path) -> None:
    with pytest.raises(ServiceError, match=r"tls: .*missing cannot be read"):
        bench.serve("echo", listen=SSL, tls={"certificate": str(tmp_path / "missing")})


def test_a_producer_stays_registered_when_tls_begins(bench: Bench, authority, certificate) -> None:
    """As with STARTTLS: the protocol has begun before."""
    service = bench.serve("echo")
    client = bench.connect(service)
    transport = bench.loop.until(lambda: next(iter(service.connections), None))
    transport.startTLS(server_context(Tls(certificate=certificate)))
    settings = ssl.create_default_context(cafile=authority.file)
    wrapped = Client.__new__(Client)
    wrapped.bench = bench
    wrapped.sock = settings.wrap_socket(client, server_hostname="127.0.0.1", do_handshake_on_connect=False)
    bench.clients.append(wrapped.sock)
    assert wrapped.handshake().ask(b"now private") == b"now private"
    transport.writeSequence([b"and ", b"more"])
    assert wrapped.step(lambda: wrapped.sock.recv(100)) == b"and more"
