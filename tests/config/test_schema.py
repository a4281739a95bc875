"""The schema that editors use accepts what is accepted, and refuses of the rest what a schema can."""

import json
import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from multid.config.schema import schema
from tests.config.test_bad_files import FILES
from tests.config.test_example import BLOCKS, EXAMPLE, KINDS, uncommented

SCHEMA = schema(KINDS)
VALIDATOR = Draft202012Validator(SCHEMA)


class Yaml12(yaml.SafeLoader):
    """Types plain scalars as YAML 1.2 and the editors do: no octal, no yes and no, no base 60."""

    yaml_implicit_resolvers = {}


for _tag, _pattern, _first in [
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", ["<"]),
    ("bool", r"^(?:true|false|True|False|TRUE|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]+\.[0-9]+$", list("-+0123456789")),
]:
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def mistakes(text):
    return [error.message for error in VALIDATOR.iter_errors(yaml.load(text, Yaml12))]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


def test_it_accepts_the_example():
    assert not mistakes(EXAMPLE.read_text("utf-8"))


@pytest.mark.parametrize("block", BLOCKS)
def test_it_accepts_the_example_with_each_further_key(block):
    assert not mistakes(uncommented(*block))


def is_yaml(path):
    try:
        return isinstance(yaml.load(path.read_bytes(), Yaml12), dict | list | str)
    except (yaml.YAMLError, ValueError, OverflowError):
        return False


ONLY_READING_TELLS = {
    *("duplicate-keys", "merge-loop", "utf16"),  # gone when a schema sees the file
    *("include-mistakes", "include-nothing"),  # in other files
    *("page-address", "same-address", "shared-queue", "ssl-without-certificate", "service-names"),  # between values
    *("long-line", "networks", "paths", "templates"),  # inside of texts
}
BOMBS = {"alias-bomb", "alias-loop"}


@pytest.mark.parametrize("path", [p for p in FILES if is_yaml(p) and p.stem not in BOMBS], ids=lambda path: path.stem)
def test_it_refuses_what_a_schema_can(path):
    accepted = not mistakes(path.read_bytes())
    assert accepted == (path.stem in ONLY_READING_TELLS)
