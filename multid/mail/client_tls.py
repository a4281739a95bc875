"""TLS towards a next hop: with its name and certificate verified, or, where a route is content with that, without.

Verified is: the chain leads to an authority of the system (`SSL_CERT_FILE` names others), the certificate is of the
host's name, TLS 1.2 or later. Unverified TLS keeps a mail from those who only listen; it is for exchangers found in
the DNS, whose certificates often prove nothing, and nobody ever gets a password over it.

Reading the authorities takes a while, so what was made for a host is kept until `forget`.
"""

from functools import lru_cache
from ipaddress import ip_address

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


@lru_cache(maxsize=256)
def verified(host: str) -> IOpenSSLClientConnectionCreator:
    """Return what connects to `host` only if it proves to be it."""
    return optionsForClientTLS(host, extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2})


@lru_cache(maxsize=256)
def unverified(host: str) -> IOpenSSLClientConnectionCreator:
    """Return what connects to whoever answers, naming `host` to it."""
    return Unverified(host)


def forget() -> None:
    """Read the system's authorities anew for later connections."""
    verified.cache_clear()
    unverified.cache_clear()


@implementer(IOpenSSLClientConnectionCreator)
class Unverified:
    """Encrypts, and asks for no proof."""

    def __init__(self, host: str) -> None:
        self._name = b"" if _is_address(host) else host.encode("idna")
        self._context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """IOpenSSLClientConnectionCreator API."""
        connection = SSL.Connection(self._context, None)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
