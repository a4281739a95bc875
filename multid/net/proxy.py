r"""The header in which a proxy names the client: PROXY protocol, versions 1 and 2. Pure.

`parse_header` looks at the first octets of a connection, as many as have come, and returns the header and its length,
None if more must come, or raises `ProxyError` as soon as no octet to come could make it right. A header is at most 107
octets (version 1, ended by CRLF, or by a bare LF as some senders do) or `MAX_LENGTH` and 16 (version 2). Addresses are
parsed, never passed on as text: what a `Proxied` holds is an IP address, an IPv4 one also when it came mapped into
IPv6. TLVs are skipped.
"""

import ipaddress
import re
import struct
from dataclasses import dataclass

MAX_LENGTH = 4096
"""Octets of a version 2 header after the first 16: addresses and TLVs."""

_V1 = b"PROXY "
_V1_LONGEST = 107
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_PORT = re.compile(r"0|[1-9]\d{0,4}")

_UNSPECIFIED, _INET, _INET6, _UNIX = 0, 1, 2, 3
_SIZES = {_UNSPECIFIED: 0, _INET: 12, _INET6: 36, _UNIX: 216}


class ProxyError(ValueError):
    """What is wrong with a header; its text never holds anything of the header."""


@dataclass(frozen=True)
class Proxied:
    """Host and port of the client and of the address it connected to; None where the proxy names nobody."""

    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


def encode_header(version: int, proxied: Proxied) -> bytes:
    """Return the header that names a client, or says that nobody is named."""
    if proxied.source is None or proxied.destination is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _V2 + b"\x20\x00\x00\x00"
    source, destination = (ipaddress.ip_address(end[0]) for end in (proxied.source, proxied.destination))
    ports = proxied.source[1], proxied.destination[1]
    if version == 1:
        return f"PROXY TCP{source.version} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    body = source.packed + destination.packed + struct.pack("!HH", *ports)
    return _V2 + struct.pack("!BBH", 0x21, 0x11 if source.version == 4 else 0x21, len(body)) + body


def parse_header(data: bytes) -> tuple[Proxied, int] | None:
    """Return the header at the beginning of `data` and its length; None if it is not yet whole."""
    if data[: len(_V2)] == _V2[: len(data)]:
        return _version_2(data) if len(data) >= 16 else None
    if data[: len(_V1)] != _V1[: len(data)]:
        raise ProxyError("no PROXY header")
    end = data.find(b"\n", 0, _V1_LONGEST)
    if end < 0:
        if len(data) >= _V1_LONGEST:
            raise ProxyError("longer than 107 octets")
        return None
    return _version_1(data[:end].removesuffix(b"\r")), end + 1


def _version_1(line: bytes) -> Proxied:
    words = line.decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return Proxied()
    if words[1] not in {"TCP4", "TCP6"}:
        raise ProxyError("unknown family")
    if len(words) != 6:
        raise ProxyError("not two addresses and two ports")
    source, destination, source_port, destination_port = words[2:]
    version = int(words[1][3])
    return Proxied(_named(version, source, source_port), _named(version, destination, destination_port))


def _named(version: int, host: str, port: str) -> tuple[str, int]:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ProxyError("not an IP address") from None
    if address.version != version or "%" in host:
        raise ProxyError("not an address of its family")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ProxyError("not a port")
    return _host(address), int(port)


def _version_2(data: bytes) -> tuple[Proxied, int] | None:
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command not in {0x20, 0x21}:
        raise ProxyError("unknown version or command")
    if length > MAX_LENGTH:
        raise ProxyError("longer than it may be")
    if family >> 4 not in _SIZES or family & 15 > 2:
        raise ProxyError("unknown family")
    if command == 0x21 and length < _SIZES[family >> 4]:
        raise ProxyError("shorter than its addresses")
    end = 16 + length
    if len(data) < end:
        return None
    return (_packed(data, family >> 4) if command == 0x21 else Proxied()), end


def _packed(data: bytes, family: int) -> Proxied:
    if family == _INET:
        source, destination, source_port, destination_port = struct.unpack_from("!4s4sHH", data, 16)
    elif family == _INET6:
        source, destination, source_port, destination_port = struct.unpack_from("!16s16sHH", data, 16)
    else:
        return Proxied()
    return Proxied(
        (_host(ipaddress.ip_address(source)), source_port),
        (_host(ipaddress.ip_address(destination)), destination_port),
    )


def _host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
