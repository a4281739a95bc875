"""The models that every part of the file builds on: frozen, strict, and comparable with `==`.

A kind derives its own model from `ServiceConfig`; `File` is the whole document. Texts become values here and
nowhere else; an error's text says what is allowed and what was given, its place is found by `multid.config.load`.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from multid.config import units
from multid.config.address import LONGEST_PATH, Address, parse_listen, parse_network
from multid.config.files import read_octets
from multid.config.problems import Mistake


class Model(BaseModel):
    """A part of the file: unknown keys are errors, values are frozen, defaults are checked as if written."""

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: Any) -> Any:
        """`echo:` with nothing after it is a mapping without keys."""
        return {} if value is None else value


def _text(parse: Any) -> Any:
    """Return a validator that parses texts, and leaves what is a value already, such as a default."""

    def validate(value: Any) -> Any:
        if value is None or isinstance(value, list | dict):
            raise PydanticCustomError("string_type", "must be a text")
        return parse(value) if isinstance(value, str) else value

    return validate


def _named(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError(f"a path has no zero octet: {str(path)!r}")
    return path


FilePath = Annotated[Path, AfterValidator(_named)]
"""The path of a file or a directory, which may be there or not."""


class _Listed:
    """Marks a tuple that may be written as one value, without a list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        array = handler(schema)
        return {"anyOf": [array["items"], array]}


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else (value,)


LISTED = _Listed()


Duration = Annotated[
    float,
    BeforeValidator(_text(units.parse_duration)),
    PlainSerializer(units.format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": units.DURATION_PATTERN}),
]
"""Seconds, written `30s`, `5m`, `1h` or `4d`."""

Size = Annotated[
    int,
    BeforeValidator(_text(units.parse_size)),
    PlainSerializer(units.format_size, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "pattern": units.SIZE_PATTERN}),
]
"""Octets, written `64KiB`, `25MiB` or `1GiB`."""

Rate = Annotated[
    float,
    BeforeValidator(_text(units.parse_rate)),
    PlainSerializer(units.format_rate, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": units.RATE_PATTERN}),
]
"""Events a second, written `20/s` or `60/min`."""


Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    BeforeValidator(_text(parse_network)),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "ip-network"}),
]
"""An IP network, written `192.0.2.0/24`; a lone address is a network of one."""

Networks = Annotated[tuple[Network, ...], LISTED]

Listen = Annotated[
    Address,
    BeforeValidator(_text(parse_listen)),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "endpoint", "pattern": r"^((tcp|udp|ssl)6?|unix|systemd(-udp)?):."}),
]
"""An address to listen on: an endpoint string, see `multid.config.address`."""


class Secret(Model):
    """A secret by reference: exactly one of a file, a variable of the environment or a systemd credential."""

    file: FilePath | None = Field(
        default=None, description="file whose text is the secret; one line end at its end is not part of it"
    )
    env: str | None = Field(default=None, description="name of an environment variable")
    credential: str | None = Field(default=None, description="name of a systemd credential (LoadCredential=)")

    @model_validator(mode="before")
    @classmethod
    def _never_its_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise Mistake("a secret is {file: PATH}, {env: NAME} or {credential: NAME}, never its text", private=True)
        return value

    @model_validator(mode="after")
    def _one(self) -> "Secret":
        if sum(x is not None for x in (self.file, self.env, self.credential)) != 1:
            raise ValueError("a secret is exactly one of {file: PATH}, {env: NAME} or {credential: NAME}")
        if self.credential is not None and ("/" in self.credential or self.credential in {"", ".", ".."}):
            raise ValueError(f"a credential is a name without '/', not {self.credential!r}")
        return self

    def read(self) -> str:
        """Return the secret's text; OSError or KeyError, which never hold the text, where there is none."""
        if self.env is not None:
            return os.environ[self.env]
        directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
        path = self.file if self.file is not None else Path(directory) / (self.credential or "")
        return read_octets(path).decode("utf-8").removesuffix("\n").removesuffix("\r")


class Limits(Model):
    """How much a service takes on: connections now, of one peer, accepts and replies a second."""

    connections: int = Field(default=1024, ge=1, description="connections at a time")
    per_peer: int = Field(default=64, ge=1, description="connections at a time from one address (IPv6: one /64)")
    rate: Rate | None = Field(
        default=None, description="accepts a second per peer; of a UDP service, replies a second per peer (20/s)"
    )
    total_rate: Rate = Field(default=5000.0, description="UDP replies a second to all peers together")
    lowest_port: int = Field(default=0, ge=0, le=65535, description="UDP requests from ports below are not answered")


class Timeouts(Model):
    """When a connection is ended that makes no use of itself, in seconds of the monotonic clock."""

    idle: Duration = Field(default=300.0, gt=0, description="nothing read or written")
    stall: Duration = Field(default=30.0, gt=0, description="the peer does not read what is waiting for it")
    lifetime: Duration | None = Field(default=None, gt=0, description="the connection as a whole")


class Tls(Model):
    """Certificate and key of `ssl:` addresses and STARTTLS; read anew at each reload."""

    certificate: FilePath = Field(description="PEM file: the certificate, then its chain")
    key: FilePath | None = Field(
        default=None, description="PEM file of the private key; by default in the certificate's file"
    )
    client_ca: FilePath | None = Field(
        default=None, description="PEM file of the authorities whose client certificates are demanded"
    )
    minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="lowest TLS version")


class ProxyProtocol(Model):
    """Peers that are proxies and must begin with a PROXY protocol header (v1 or v2)."""

    from_: Networks = Field(alias="from", min_length=1, description="networks of the proxies")


class ServiceConfig(Model):
    """The keys that every service has."""

    streams: ClassVar[bool] = True
    """Whether the kind takes connections."""
    datagrams: ClassVar[bool] = True
    """Whether the kind takes datagrams."""

    type: str = Field(default="", description="the kind of service; by default the stanza's name")
    enabled: bool = Field(default=True, description="false keeps the stanza and runs nothing")
    listen: Annotated[tuple[Listen, ...], LISTED] = Field(
        description="one address or a list: tcp:PORT[:interface=ADDR], udp:, tcp6:, ssl:, unix:PATH, systemd:name="
    )
    required: bool = Field(
        default=False,
        description="true: if it cannot bind, the daemon stops (71); false: tried again while the rest runs",
    )
    allow: Networks = Field(
        default=(), description="networks that may connect; with deny, the longest match wins; empty: everybody"
    )
    deny: Networks = Field(default=(), description="networks that may not connect")
    limits: Limits = Field(default=Limits(), description="how much the service takes on")
    timeouts: Timeouts = Field(default=Timeouts(), description="when a connection is ended that makes no use of itself")
    tls: Tls | None = Field(default=None, description="certificate and key, for ssl: addresses and STARTTLS")
    proxy_protocol: ProxyProtocol | None = Field(default=None, description="proxies whose PROXY header names the peer")
    record: bool = Field(
        default=False,
        description="one structured event a connection: peer, start, duration, octets, reason of its end",
    )

    def own_directory(self, state_dir: Path) -> tuple[tuple[str, ...], Path] | None:
        """Return the directory that the service must have for itself, and the keys that say which; None without one."""
        return None

    @field_validator("listen")
    @classmethod
    def _possible_transports(cls, value: tuple[Address, ...]) -> tuple[Address, ...]:
        if not value:
            raise ValueError("needs at least one address")
        for address in value:
            if address.is_datagram and not cls.datagrams:
                raise ValueError(f"this service takes connections only, and {address} is for datagrams")
            if not address.is_datagram and not cls.streams:
                raise ValueError(f"this service takes datagrams only (udp:), and {address} is for connections")
        return value

    @model_validator(mode="after")
    def _ssl_needs_tls(self) -> "ServiceConfig":
        if self.tls is None and any(address.transport == "ssl" for address in self.listen):
            raise ValueError("an ssl: address needs 'tls' with a certificate")
        return self


class Log(Model):
    """The daemon's own log."""

    level: Literal["debug", "info", "warn", "error"] = Field(
        default="info", description="the least serious level that is written"
    )
    format: Literal["text", "json", "journal"] | None = Field(
        default=None, description="text, json or journal; journal is chosen by itself under systemd"
    )


class Admin(Model):
    """Where an operator looks and commands."""

    socket: FilePath | None = Field(
        default=None, description="UNIX socket of the `multid` command; by default admin.sock in state_dir"
    )
    http: Listen | None = Field(default=None, description="status page, /metrics, /healthz and /readyz; absent: off")

    @field_validator("socket")
    @classmethod
    def _fits(cls, value: Path | None) -> Path | None:
        if value is not None and len(os.fsencode(value)) > LONGEST_PATH:
            raise ValueError(f"the path of a UNIX socket has at most {LONGEST_PATH} octets: {str(value)!r}")
        return value

    @field_validator("http")
    @classmethod
    def _is_plain(cls, value: Address | None) -> Address | None:
        if value is not None and value.transport not in {"tcp", "unix", "systemd"}:
            raise ValueError(f"the status page is plain HTTP over tcp: or unix:, not {value}")
        return value


class File(Model):
    """The whole document; `services` holds values of each kind's own model."""

    state_dir: FilePath = Field(default=Path("var"), description="mail queue, admin socket")
    drain_timeout: Duration = Field(
        default=30.0, description="how long open work may take to finish when the daemon stops"
    )
    include: Annotated[tuple[str, ...], LISTED] = Field(
        default=(), description="patterns of further files, from this file's directory; each may add services"
    )
    log: Log = Field(default=Log(), description="the daemon's own log")
    admin: Admin = Field(default=Admin(), description="where an operator looks and commands")
    services: dict[str, SerializeAsAny[ServiceConfig]] = Field(default={}, description="the services by name")
