"""multid itself, started as a user starts it: `twistd -n --pidfile= multid -c FILE`."""

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from bench.obtain import MissingError
from bench.places import PROJECT
from bench.server import Command, Place

HEAD = """state_dir: {folder}/state
admin: {{socket: {folder}/admin.sock}}
services:
"""

SMTP = """  smtp:
    listen: 'tcp:{port}:interface=127.0.0.1'
    hostname: bench.example
    limits: {{connections: 1000, per_peer: 1000}}
"""


def configured(place: Place, stanza: str) -> Command:
    """`stanza` is the text below `services:`; it may hold {folder}, {port} and {next_hop}."""
    file = place.folder / "multid.yaml"
    file.write_text((HEAD + stanza).format(folder=place.folder, port=place.port, next_hop=place.next_hop))
    return running(file)


def running(file: Path) -> Command:
    twistd = Path(sys.executable).with_name("twistd")
    return Command((str(twistd), "-n", "--pidfile=", "multid", "-c", str(file)))


def echo_tcp(place: Place) -> Command:
    return configured(
        place, "  echo: {{listen: 'tcp:{port}:interface=127.0.0.1', limits: {{connections: 20000, per_peer: 20000}}}}\n"
    )


def echo_udp(place: Place) -> Command:
    return configured(place, "  echo: {{listen: 'udp:{port}:interface=127.0.0.1'}}\n")


def logger(place: Place) -> Command:
    return configured(
        place, "  logger: {{listen: 'tcp:{port}:interface=127.0.0.1', output: [{{file: '{folder}/lines.log'}}]}}\n"
    )


def logger_json(place: Place) -> Command:
    return _logger_json(place, "none")


def logger_parsed(place: Place) -> Command:
    return _logger_json(place, "syslog")


def _logger_json(place: Place, parse: str) -> Command:
    output = "[{{file: '{folder}/lines.log', format: json}}]"
    stanza = f"  logger: {{{{listen: 'tcp:{{port}}:interface=127.0.0.1', parse: {parse}, output: {output}}}}}\n"
    return configured(place, stanza)


def smtp_in(place: Place) -> Command:
    return configured(place, SMTP + "    mode: hold\n")


def smtp_through(place: Place) -> Command:
    return configured(
        place, SMTP + "    routes: [{{via: 'smtp://127.0.0.1:{next_hop}', tls: none, connections: 20}}]\n"
    )


def default_file(place: Place) -> Command:
    """The file multid comes with, in a folder of its own."""
    if not (PROJECT / "config" / "multid.yaml").exists():
        raise MissingError("no config/multid.yaml")
    shutil.copytree(PROJECT / "config", place.folder / "config")
    file = place.folder / "config" / "multid.yaml"
    listens = [service["listen"] for service in yaml.safe_load(file.read_text())["services"].values()]
    ports = re.findall(r"\btcp:(\d+)", str(listens))
    return replace(running(file), ports=tuple(map(int, ports)))
