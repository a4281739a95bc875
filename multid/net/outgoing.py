"""Connecting to a target: its name is resolved each time, TLS is spoken and verified where the target says so."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import crypto
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates

if TYPE_CHECKING:
    from multid.config.target import Target


_BEGIN = b"-----BEGIN CERTIFICATE-----"


def endpoint(reactor: Any, target: Target, timeout: float) -> Any:
    """Return the client endpoint of a tcp:, ssl: or unix: target; of an ssl: one it connects without TLS."""
    if target.transport == "unix":
        return UNIXClientEndpoint(reactor, target.path, timeout)
    try:
        address = ipaddress.ip_address(target.host.partition("%")[0])
    except ValueError:
        return HostnameEndpoint(reactor, target.host, target.port, timeout=timeout)
    kind: Any = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint
    return kind(reactor, target.host, target.port, timeout=timeout)


def client_context(target: Target, authorities: Path | None, certificate: Path | None = None) -> Any:
    """Return the context of an ssl: target, which must prove to be the host we mean; None of another.

    Trusted are the authorities of a PEM file, or the system's. Our own certificate and its key are shown where one is
    given. ValueError says what is wrong with a file.
    """
    if target.transport != "ssl":
        return None
    shown = _shown(certificate) if certificate is not None else {}
    return optionsForClientTLS(target.host, trustRoot=_trusted(authorities), extraCertificateOptions=shown)


def _shown(certificate: Path) -> dict[str, object]:
    try:
        text = certificate.read_bytes()
        first, *chain = x509.load_pem_x509_certificates(text)
        key = serialization.load_pem_private_key(text, None)
    except OSError as error:
        raise ValueError(f"{certificate} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ValueError(f"{certificate} does not hold a certificate and its key") from None
    return {"certificate": first, "extraCertChain": chain, "privateKey": key}


def _trusted(authorities: Path | None) -> Any:
    if authorities is None:
        return platformTrust()
    try:
        text = authorities.read_bytes()
    except OSError as error:
        raise ValueError(f"{authorities} cannot be read: {error.strerror}") from None
    try:
        found = [Certificate.loadPEM(_BEGIN + part) for part in text.split(_BEGIN)[1:]]
    except crypto.Error:
        raise ValueError(f"{authorities} holds no certificate that can be used") from None
    if not found:
        raise ValueError(f"{authorities} holds no certificate")
    return trustRootFromCertificates(found)
