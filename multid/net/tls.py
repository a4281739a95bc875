"""Server contexts from the file's `tls` keys."""

from pathlib import Path
from typing import Any

from OpenSSL import crypto
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, trustRootFromCertificates

from multid.config.model import Tls

_MINIMUM = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def server_context(tls: Tls) -> Any:
    """Return a context factory with certificate, chain and key, demanding client certificates where told to.

    Raise ValueError that names the file that cannot be read or used.
    """
    chain = [crypto.load_certificate(crypto.FILETYPE_PEM, pem) for pem in _certificates(tls.certificate)]
    key_path = tls.key or tls.certificate
    try:
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, key_path.read_bytes())
    except (OSError, crypto.Error) as error:
        raise ValueError(f"no private key can be read from {key_path}: {_why(error)}") from None
    trust = None
    if tls.client_ca is not None:
        trust = trustRootFromCertificates([Certificate.loadPEM(pem) for pem in _certificates(tls.client_ca)])
    return CertificateOptions(
        privateKey=key,
        certificate=chain[0],
        extraCertChain=chain[1:],
        trustRoot=trust,
        raiseMinimumTo=_MINIMUM[tls.minimum],
    )


def _certificates(path: Path) -> list[bytes]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {_why(error)}") from None
    found = [_BEGIN + part for part in text.split(_BEGIN)[1:]]
    if not found:
        raise ValueError(f"{path} holds no certificate")
    return found


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or "not a PEM file of the right kind"
