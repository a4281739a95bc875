"""TLS: our certificate, the client's, a handshake that does not come, and certificates that change."""

import shutil
import socket
import ssl
from pathlib import Path

import pytest

from multid.net.transport import HANDSHAKE
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


def test_a_version_below_the_minimum_is_refused(bench: Bench, authority, certificate) -> None:
    tls = {"certificate": str(certificate), "minimum": "1.3"}
    service = bench.serve("echo", listen=SSL, tls=tls)
    client = Client(bench, service, authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        client.handshake()
    bench.loop.until(lambda: not service.connections)


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
