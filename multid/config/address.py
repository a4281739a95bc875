r"""Where a service listens: Twisted's endpoint strings, extended by datagrams in the same form; and networks. Pure.

`tcp:PORT[:interface=ADDR]`, `tcp6:`, `udp:`, `udp6:`, `ssl:`, `ssl6:`, `unix:PATH[:mode=660]`,
`systemd:domain=INET:name=NAME` and `systemd-udp:name=NAME`. A colon inside a value is written `\:`, as Twisted does.
"""

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal

from multid.config.problems import Mistake, did_you_mean

Transport = Literal["tcp", "udp", "unix", "ssl", "systemd", "systemd-udp"]
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_IP: dict[str, tuple[Transport, int]] = {
    "tcp": ("tcp", 4),
    "tcp6": ("tcp", 6),
    "udp": ("udp", 4),
    "udp6": ("udp", 6),
    "ssl": ("ssl", 4),
    "ssl6": ("ssl", 6),
}
_SYSTEMD: dict[str, Transport] = {"systemd": "systemd", "systemd-udp": "systemd-udp"}
_DOMAINS = ("", "INET", "INET6", "UNIX")
_KINDS = (*_IP, "unix", *_SYSTEMD)
LONGEST_PATH = 107  # sun_path is 108 octets, the last one is zero


@dataclass(frozen=True)
class Address:
    """One place to listen: what `parse_listen` makes of an endpoint string, whose text it keeps.

    `host` is an IP address; of a systemd socket it is the domain, empty where any will do.
    """

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
    def port_is_chosen(self) -> bool:
        """Whether the kernel chooses the port, another one for each service."""
        return self.transport in {"tcp", "udp", "ssl"} and self.port == 0

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What makes two addresses the same socket: a backlog or a file mode can change in place."""
        transport = "tcp" if self.transport == "ssl" else self.transport
        return transport, self.host, self.port, self.path, self.name

    @property
    def everywhere(self) -> tuple[str, str, int, str, str]:
        """The key of the same port on every address of the host, beside which this one cannot be bound."""
        if self.transport not in {"tcp", "udp", "ssl"}:
            return self.key
        return replace(self, host="::" if ":" in self.host else "0.0.0.0").key


def parse_listen(text: str) -> Address:
    """Return the address an endpoint string names; ValueError says which part is wrong."""
    kind, _, rest = text.partition(":")
    if kind not in _KINDS:
        hint = f"did you mean 'tcp:{kind}'?" if kind.isdecimal() else did_you_mean(kind, _KINDS)
        known = f"{', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
        raise Mistake(f"an address begins with {known}, such as tcp:7007:interface=127.0.0.1, not {text!r}", hint)
    words, options = _split(rest)
    if kind in _IP:
        return _internet(text, kind, words, options)
    if kind == "unix":
        return _unix(text, words, options)
    return _systemd(text, kind, words, options)


def parse_network(text: str) -> IPNetwork:
    """Return the network of a text such as `192.0.2.0/24`; a lone address is a network of one."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Mistake(f"a network is written 192.0.2.0/24 or 2001:db8::/32, not {text!r}", _whole(text)) from None


def _whole(text: str) -> str:
    try:
        return f"did you mean '{ipaddress.ip_network(text, strict=False)}'?"
    except ValueError:
        return ""


def _internet(text: str, kind: str, words: list[str], options: dict[str, str]) -> Address:
    transport, version = _IP[kind]
    if len(words) > 1:
        raise Mistake(f"an address is written {kind}:PORT:interface=ADDRESS, not {text!r}", _meant(text, words))
    _known(options, {"port", "interface"} if transport == "udp" else {"port", "interface", "backlog"})
    port = _number("port", _one_of(words, options, "port"), 0, 65535)
    host = options.get("interface", "0.0.0.0" if version == 4 else "::")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"an interface is an IP address, not {host!r}") from None
    if version == 6 and address.version == 4:
        raise ValueError(f"{kind!r} needs an IPv6 address, not {host!r}")
    backlog = _number("backlog", options.get("backlog", "1024"), 1, 65535)
    return Address(text, transport, host=host, port=port, backlog=backlog)


def _meant(text: str, words: list[str]) -> str:
    """Say what was meant by an address in which a colon stands at a place of its own."""
    start, interface, host = text.partition("interface=")
    if interface:
        return f"did you mean '{start}interface={host.replace(':', chr(92) + ':')}'?"
    if len(words) == 2 and words[1].isdecimal() and not words[0].isdecimal():
        return f"did you mean '{text.partition(':')[0]}:{words[1]}:interface={words[0]}'?"
    return "a colon inside a value is written '\\:'"


def _unix(text: str, words: list[str], options: dict[str, str]) -> Address:
    _known(options, {"address", "mode", "backlog"})
    path = _one_of(words, options, "address")
    if not path or "\0" in path:
        raise ValueError(f"'unix:' needs a path, such as unix:/run/multid/log.sock, not {text!r}")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_PATH:
        raise ValueError(f"the path of a UNIX socket has at most {LONGEST_PATH} octets: {path!r}")
    mode = options.get("mode", "660")
    if not re.fullmatch(r"0?[0-7]{3}", mode, re.ASCII):
        raise ValueError(f"a mode is three octal digits, such as 660, not {mode!r}")
    backlog = _number("backlog", options.get("backlog", "1024"), 1, 65535)
    return Address(text, "unix", path=path, mode=int(mode, 8), backlog=backlog)


def _systemd(text: str, kind: str, words: list[str], options: dict[str, str]) -> Address:
    _known(options, {"domain", "name"})
    if words or not options.get("name"):
        raise ValueError(f"{kind!r} needs a name, such as {kind}:name=echo, not {text!r}")
    domain = options.get("domain", "")
    if domain not in _DOMAINS:
        raise Mistake(f"a domain is INET, INET6 or UNIX, not {domain!r}", did_you_mean(domain, _DOMAINS[1:]))
    return Address(text, _SYSTEMD[kind], host=domain, name=options["name"])


def _split(rest: str) -> tuple[list[str], dict[str, str]]:
    r"""Part `a:b=c` into its words and its options, `\:` being a colon and `\\` a backslash inside either."""
    words: list[str] = []
    options: dict[str, str] = {}
    for part in re.findall(r"(?:\\.|[^:\\])+", rest):
        plain = re.sub(r"\\(.)", r"\1", part)
        name, equals, value = plain.partition("=")
        if not equals:
            words.append(plain)
        elif name in options:
            raise ValueError(f"the option {name!r} is given twice")
        else:
            options[name] = value
    return words, options


def _one_of(words: list[str], options: dict[str, str], name: str) -> str:
    """Return the value that is given either as the first word or by its name."""
    given = [*words, *([options[name]] if name in options else [])]
    if len(given) > 1:
        raise Mistake(f"unexpected {given[1]!r}", "a colon inside a value is written '\\:'")
    return given[0] if given else ""


def _known(options: dict[str, str], names: set[str]) -> None:
    for name in options:
        if name not in names:
            known = ", ".join(sorted(names))
            raise Mistake(f"unknown option {name!r}; it may have {known}", did_you_mean(name, names))


def _number(what: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        raise ValueError(f"a {what} is a number from {low} to {high}, not {text!r}")
    return int(text)
