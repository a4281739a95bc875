r"""Where a service listens or connects: Twisted's endpoint strings, extended by datagrams in the same form. Pure.

`tcp:PORT[:interface=ADDR]`, `tcp6:`, `udp:`, `udp6:`, `ssl:`, `ssl6:`, `unix:PATH[:mode=660]`,
`systemd:domain=INET:name=NAME` and `systemd-udp:name=NAME`. A colon inside a value is written `\:`, as Twisted does.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Transport = Literal["tcp", "udp", "unix", "ssl", "systemd", "systemd-udp"]

_IP = {
    "tcp": ("tcp", 4),
    "tcp6": ("tcp", 6),
    "udp": ("udp", 4),
    "udp6": ("udp", 6),
    "ssl": ("ssl", 4),
    "ssl6": ("ssl", 6),
}
_KEYS = {
    "tcp": {"port", "interface", "backlog"},
    "udp": {"port", "interface"},
    "ssl": {"port", "interface", "backlog"},
}


@dataclass(frozen=True)
class Address:
    """One place to listen: what `parse_listen` makes of an endpoint string, whose text it keeps."""

    text: str
    transport: Transport
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660
    name: str = ""
    backlog: int = 1024

    def __str__(self) -> str:
        return self.text

    @property
    def is_datagram(self) -> bool:
        """Whether datagrams arrive here, not connections."""
        return self.transport in {"udp", "systemd-udp"}

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What makes two addresses the same socket: a backlog or a file mode can change in place."""
        transport = "tcp" if self.transport == "ssl" else self.transport
        return transport, self.host, self.port, self.path, self.name


def parse_listen(text: str) -> Address:
    """Return the address an endpoint string names; ValueError says which part is wrong."""
    kind, _, rest = text.partition(":")
    words, options = _split(rest)
    if kind in _IP:
        return _internet(text, kind, words, options)
    if kind == "unix":
        path = words[0] if words else options.pop("address", options.pop("path", ""))
        _known(options, {"mode", "backlog", "lockfile"})
        if not path:
            raise ValueError(f"'unix:' needs a path, such as unix:/run/multid/log.sock, not {text!r}")
        return Address(text, "unix", path=path, mode=_octal(options.get("mode", "660")))
    if kind in {"systemd", "systemd-udp"}:
        _known(options, {"domain", "name"})
        if "name" not in options:
            raise ValueError(f"{kind!r} needs a name, such as {kind}:name=echo, not {text!r}")
        return Address(text, kind, name=options["name"])  # type: ignore[arg-type]
    known = "tcp, tcp6, udp, udp6, ssl, ssl6, unix, systemd or systemd-udp"
    raise ValueError(f"an address begins with {known}, such as tcp:7007:interface=127.0.0.1, not {text!r}")


def _internet(text: str, kind: str, words: list[str], options: dict[str, str]) -> Address:
    transport, version = _IP[kind]
    _known(options, _KEYS[transport])
    port = words[0] if words else options.get("port", "")
    if not re.fullmatch(r"\d{1,9}", port) or not 0 <= int(port) <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port!r}")
    host = options.get("interface", "0.0.0.0" if version == 4 else "::")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        raise ValueError(f"an interface is an IP address, not {host!r}") from None
    if address.version == 6 and version == 4 and kind in {"tcp", "ssl"} | {"udp"}:
        version = 6
    if address.version != version:
        raise ValueError(f"{kind!r} needs an IPv{version} address, not {host!r}")
    backlog = int(options["backlog"]) if options.get("backlog", "").isdigit() else 1024
    return Address(text, transport, host=host, port=int(port), backlog=backlog)  # type: ignore[arg-type]


def _split(rest: str) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    options: dict[str, str] = {}
    for part in re.split(r"(?<!\\):", rest) if rest else []:
        plain = part.replace("\\:", ":")
        name, equals, value = plain.partition("=")
        if equals:
            options[name] = value
        else:
            words.append(plain)
    if len(words) > 1:
        raise ValueError(f"unexpected {words[1]!r}; a colon inside a value is written '\\:'")
    return words, options


def _known(options: dict[str, str], names: set[str]) -> None:
    for name in options:
        if name not in names:
            raise ValueError(f"unknown option {name!r}; it may have {', '.join(sorted(names))}")


def _octal(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"a mode is three octal digits, such as 660, not {text!r}")
    return int(text, 8)
