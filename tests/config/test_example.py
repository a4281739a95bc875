"""The shipped example is the documentation: it loads, it shows every key once, and each key it shows can be set."""

import re
from pathlib import Path

import pytest

from multid.config.explain import fields
from multid.config.load import load
from multid.config.model import File, ServiceConfig
from multid.kinds import discover

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "config" / "multid.yaml"
KINDS = {name: kind.config for name, kind in discover().items()}
LINES = EXAMPLE.read_text("utf-8").splitlines()
COMMENTED = re.compile(r"( *)#(?! \S)(.+)")  # prose begins with '# ' and a letter, what can be set does not


def blocks():
    """Yield the commented-out settings: the numbers of a first line and of the deeper ones below it."""
    number = 0
    while number < len(LINES):
        match = COMMENTED.fullmatch(LINES[number])
        number += 1
        if match:
            block = [number - 1]
            while number < len(LINES) and (below := COMMENTED.fullmatch(LINES[number])) and below[2].startswith(" "):
                block.append(number)
                number += 1
            yield tuple(block)


def uncommented(*numbers):
    return "\n".join(COMMENTED.sub(r"\1\2", line) if n in numbers else line for n, line in enumerate(LINES))


def name(block):
    return f"{LINES[block[0]].split(':')[0].strip()}-{block[0] + 1}"


BLOCKS = list(blocks())


def load_text(text, tmp_path):
    path = tmp_path / "multid.yaml"
    path.write_text(text, "utf-8")
    return load(path, KINDS)


def test_the_example_loads():
    loaded = load(EXAMPLE, KINDS)
    assert all(service.enabled for service in loaded.file.services.values())


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_each_key_that_is_commented_out_can_be_set(block, tmp_path):
    load_text(uncommented(*block), tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All paths that occur in the example, live or commented out; of a service below its type."""
    paths = set()
    for block in [(), *BLOCKS]:
        loaded = load_text(uncommented(*block), tmp_path_factory.mktemp("example"))
        for path in loaded.places:
            names = tuple(key for key in path if isinstance(key, str))
            paths.add(
                names if len(path) < 2 or path[0] != "services" else (loaded.file.services[path[1]].type, *names[2:])
            )
    return paths


def keys_below(model, path=()):
    for name in fields(model, path):
        yield (*path, name)
        yield from keys_below(model, (*path, name))


OTHER_FORMS_OF_A_SECRET = {"env", "credential"}  # beside the file that is shown


def test_every_key_of_the_file_occurs(written):
    assert {path for path in keys_below(File) if path[0] != "services"} <= written


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_every_kind_occurs(kind, written):
    assert (kind,) in written
    own = set(keys_below(KINDS[kind])) - set(keys_below(ServiceConfig))
    missing = {path for path in own if (kind, *path) not in written}
    assert not {path for path in missing if path[-1] not in OTHER_FORMS_OF_A_SECRET}


def test_the_keys_of_every_service_occur_with_echo(written):
    assert {("echo", *path) for path in keys_below(ServiceConfig)} <= written


def test_every_address_is_on_loopback_and_needs_no_privilege():
    for service in load(EXAMPLE, KINDS).file.services.values():
        for address in service.listen:
            assert address.host == "127.0.0.1"
            assert address.port > 1023


OTHERS = sorted({*(ROOT / "config").rglob("*.yaml"), *(ROOT / "systemd").glob("*.yaml")} - {EXAMPLE})


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_every_other_example_loads(path):
    load(path, KINDS)


def test_no_line_is_too_long_to_read():
    assert max(map(len, LINES)) <= 120


def test_every_key_is_explained():
    """Each line that sets a key, live or not, has a comment, but for a stanza's first line and its addresses."""
    for line in LINES:
        plain = COMMENTED.sub(r"\1\2", line)
        match = re.match(r" *(\w+):", plain)
        if match and match[1] not in {"listen", "type", "services"} and not re.fullmatch(r"  \w+:", plain):
            assert " # " in plain, line
