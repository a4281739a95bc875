"""The server's side of TLS, from the file's `tls` keys: our certificate, and the clients' where they must have one.

TLS 1.2 has forward secrecy and authenticated ciphers only, nothing is compressed or renegotiated. A client whose
certificate `client_ca` did not issue, or which has none, does not get through the handshake. Why a handshake failed is
known afterwards, in one word to count by and in OpenSSL's own (`handshake_failure`).
"""

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from multid.config.files import read_octets
from multid.config.model import Tls

_MINIMUM = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
_FAILURES = (
    ("alert", "refused"),  # the client did not like what it saw of us
    ("http request", "not_tls"),
    ("https proxy request", "not_tls"),
    ("wrong version number", "not_tls"),
    ("packet length too long", "not_tls"),
    ("record layer failure", "not_tls"),
    ("unsupported protocol", "version"),
    ("no shared cipher", "cipher"),
    ("certificate", "certificate"),
    ("eof", "closed"),
)
"""What OpenSSL's words begin or go on with, and what is counted; the first that fits decides, `other` if none does."""
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    """Makes the TLS end of each connection; what its files held when it was made is what it uses."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """IOpenSSLServerConnectionCreator API."""
        return _Connection(self._context, None)


class _Connection(SSL.Connection):
    """The TLS end of a connection, which remembers why its handshake failed."""

    failure = ""

    def do_handshake(self) -> None:
        """SSL.Connection API."""
        try:
            super().do_handshake()
        except SSL.WantReadError:
            raise
        except SSL.Error as error:
            self.failure = _words(error)
            raise


def handshake_failure(connection: Any, *, is_late: bool) -> tuple[str, str]:
    """Return why the handshake of a connection failed: the word to count by, and what there is to tell."""
    words = getattr(connection, "failure", "")
    if not words:
        return ("timeout", "no end in time") if is_late else ("closed", "closed by the client")
    return next((reason for part, reason in _FAILURES if part in words.lower()), "other"), words


def _words(error: SSL.Error) -> str:
    """Return the reason that OpenSSL gives; its texts are constants, nothing of the peer is in them."""
    first = error.args[0] if error.args else ""
    return str(first[0][2]) if isinstance(first, list) and first else str(error.args[-1] if error.args else "")


def server_context(tls: Tls) -> ServerContext:
    """Return a context with certificate, chain and key, demanding client certificates where told to.

    Raise ValueError that names the file that cannot be read or used.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_MINIMUM[tls.minimum])
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_id(b"multid")
    _use_certificate(context, tls.certificate, tls.key or tls.certificate)
    if tls.client_ca is not None:
        _demand_certificates(context, tls.client_ca)
    return ServerContext(context)


def _use_certificate(context: SSL.Context, certificate: Path, key: Path) -> None:
    _must_hold_certificates(certificate)
    try:
        context.use_certificate_chain_file(str(certificate))
    except SSL.Error:
        raise ValueError(f"{certificate} holds no certificate that can be used") from None
    try:
        if _KEY not in read_octets(key):
            raise ValueError(f"{key} holds no private key of {certificate}")
        context.use_privatekey_file(str(key))
    except OSError as error:
        raise ValueError(f"no private key can be read from {key}: {error.strerror}") from None
    except SSL.Error:
        raise ValueError(f"{key} holds no private key of {certificate}") from None


def _demand_certificates(context: SSL.Context, authorities: Path) -> None:
    _must_hold_certificates(authorities)
    try:
        context.load_verify_locations(str(authorities))
        context.load_client_ca(str(authorities).encode())
    except SSL.Error:
        raise ValueError(f"{authorities} holds no certificate that can be used") from None
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, None)


def _must_hold_certificates(path: Path) -> None:
    try:
        text = read_octets(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if _BEGIN not in text:
        raise ValueError(f"{path} holds no certificate")
