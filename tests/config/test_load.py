"""A good configuration becomes frozen values with the place of every key; of a bad one each mistake is told once."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from multid.config.load import load
from multid.config.model import Duration, Limits, Model, Secret, ServiceConfig, Size
from multid.config.problems import ConfigErrors, Place


class Pair(Model):
    left: int = Field(default=1, ge=1)
    right: Literal["a", "b"] = "a"


class Named(Model):
    name: str
    length: int = 1


class Plain(ServiceConfig):
    password: Secret | None = None
    either: Pair | Named | None = None
    sync: Literal["never", "always"] | Duration = "never"
    stratum: Literal["auto"] | Annotated[int, Field(ge=1, le=15)] = "auto"
    size: Size = Field(default=1024, ge=512)
    several: tuple[Pair | Named, ...] = ()
    pairs: dict[str, Pair] = {}
    day: date = date(2026, 11, 20)
    few: tuple[str, ...] = Field(default=(), max_length=2)
    short: str = Field(default="", max_length=3, pattern="^[a-z]*$")


KINDS = {"plain": Plain, "other": ServiceConfig}


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text="", **files):
        Path("a.yaml").write_text(text, "utf-8")
        for name, content in files.items():
            path = Path(f"{name.replace('__', '/')}.yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, "utf-8")
        return load(Path("a.yaml"), KINDS)

    return read


@pytest.fixture
def mistakes(read):
    def mistakes(text="", **files):
        with pytest.raises(ConfigErrors) as caught:
            read(text, **files)
        return [problem.headline.removeprefix("a.yaml:").replace(" error:", "") for problem in caught.value.problems]

    return mistakes


def stanza(text, listen="tcp:1"):
    return f"services:\n  plain:\n    listen: {listen}\n    {text}\n"


def test_a_good_file_becomes_values(read):
    loaded = read("drain_timeout: 5s\nservices:\n  plain: {listen: [tcp:1, udp:1], limits: {connections: 5}}\n")
    assert loaded.file.drain_timeout == 5
    assert isinstance(loaded.file.services["plain"], Plain)
    assert loaded.file.services["plain"].limits == Limits(connections=5)
    assert [str(address) for address in loaded.file.services["plain"].listen] == ["tcp:1", "udp:1"]
    assert (loaded.path, loaded.sources) == (Path("a.yaml"), (Path("a.yaml"),))


def test_a_service_listens_somewhere(mistakes):
    assert mistakes(stanza("", "[]")) == ["3:5: services.plain.listen: needs at least one address"]


def test_values_are_frozen_and_equal_when_the_file_says_the_same(read):
    first, second = read(stanza("size: 1KiB")), read(stanza("size: 1024"))
    assert first.file == second.file
    assert first.file != read(stanza("size: 2KiB")).file
    with pytest.raises(ValidationError):
        first.file.services["plain"].size = 1


def test_the_type_is_the_name_where_none_is_written(read):
    services = read("services: {plain: {listen: tcp:1}, lab: {type: other, listen: tcp:2}}").file.services
    assert {name: service.type for name, service in services.items()} == {"plain": "plain", "lab": "other"}


def test_services_keep_the_order_of_the_file(read):
    services = read("services: {b: {type: other, listen: tcp:1}, a: {type: other, listen: tcp:2}}").file.services
    assert list(services) == ["b", "a"]


def test_a_plain_scalar_is_what_its_field_says_and_not_what_yaml_says(read):
    service = read(stanza("short: no\n    few: [22:22, 0640]\n    enabled: off")).file.services["plain"]
    assert (service.short, service.few, service.enabled) == ("no", ("22:22", "0640"), False)


def test_a_mapping_with_nothing_after_it_is_a_mapping_without_keys(read):
    loaded = read("log:\nadmin: ~\nservices:\n  plain:\n    listen: tcp:1\n    limits: null\n    tls:\n")
    assert loaded.file.services["plain"].limits == Limits()
    assert loaded.file.services["plain"].tls is None
    assert read("services:\n").file.services == {}


def test_a_file_of_another_editor_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufeff# 你好\r\nservices:\r\n  plain: {listen: tcp:1}\r\n".encode())
    assert load(path, KINDS).place("services", "plain") == Place(str(path), 3, 3)


def test_places_lead_back_to_the_file(read):
    loaded = read("services:\n  plain:\n    listen: [tcp:1, tcp:2]\n    limits:\n      rate: 5/s\n")
    where = [
        ("services", "plain"),
        ("services", "plain", "listen", 1),
        ("services", "plain", "limits"),
        ("drain_timeout",),
    ]
    assert [str(loaded.place(*keys)) for keys in where] == ["a.yaml:2:3", "a.yaml:3:21", "a.yaml:4:5", "a.yaml"]
    assert loaded.place("services", "plain", "listen", 1).source == "    listen: [tcp:1, tcp:2]"


def test_the_place_of_a_value_that_is_not_written_is_the_nearest_above(read):
    loaded = read("services:\n  plain: {listen: tcp:1}\n")
    assert str(loaded.place("services", "plain", "listen", 0)) == "a.yaml:2:19"
    assert str(loaded.place("services", "plain", "limits", "rate")) == "a.yaml:2:3"


def test_included_files_add_services(read):
    loaded = read(
        "include: ['conf.d/*.yaml', conf.d/b.yaml]\nservices: {plain: {listen: tcp:1}}\n",
        conf_d="",
        **{
            "conf.d__b": "services: {b: {type: other, listen: tcp:2}}",
            "conf.d__a": "services: {a: {type: other, listen: tcp:3}}",
        },
    )
    assert list(loaded.file.services) == ["plain", "a", "b"]
    assert loaded.sources == (Path("a.yaml"), Path("conf.d/a.yaml"), Path("conf.d/b.yaml"))
    assert str(loaded.place("services", "b", "listen")) == "conf.d/b.yaml:1:37"


def test_a_pattern_that_includes_its_own_file_is_no_loop(read):
    assert list(read("include: '*.yaml'\n" + stanza(""), b="# nothing").file.services) == ["plain"]


def test_includes_are_found_from_the_directory_of_the_file(read, tmp_path):
    read("include: b.yaml\n", b="services: {b: {type: other, listen: tcp:2}}")
    os.chdir("/")
    assert list(load(tmp_path / "a.yaml", KINDS).file.services) == ["b"]


def test_an_absolute_pattern_is_taken_as_it_is(read, tmp_path):
    loaded = read(f"include: {tmp_path}/b.yaml\n", b="services: {b: {type: other, listen: tcp:2}}")
    assert str(loaded.place("services", "b")) == f"{tmp_path}/b.yaml:1:12"


def test_the_same_service_in_two_files_names_both_places(mistakes):
    assert mistakes(
        "include: b.yaml\nservices: {x: {type: other, listen: tcp:1}}", b="services:\n  x: {type: other, listen: tcp:2}"
    ) == ["b.yaml:2:3: duplicate service 'x' (the first is at a.yaml:2:12)"]


def test_an_included_file_may_not_include(mistakes):
    assert mistakes("include: b.yaml\n", b="include: c.yaml\n") == [
        "b.yaml:1:1: unknown key 'include': an included file may have 'services' only"
    ]


@pytest.mark.parametrize("pattern", ["'\\0'", '"a\\0b"', "no.yaml", "/no/such/file", "''"])
def test_a_file_that_is_not_there_is_a_mistake(mistakes, pattern):
    assert "there is no file" in mistakes(f"include: [{pattern}]\n")[0]


def test_a_pattern_may_match_nothing(read):
    assert read("include: ['conf.d/*.yaml']\n").sources == (Path("a.yaml"),)


@pytest.mark.parametrize("pattern", ["a\\0b/*", "*\\0", "[", "**/**"])
def test_no_pattern_does_more_harm_than_to_match_nothing(read, pattern):
    assert read(f'include: ["{pattern}"]\n').sources == (Path("a.yaml"),)


def test_a_port_that_the_kernel_chooses_is_another_for_each(read):
    read("services: {a: {type: other, listen: [tcp:0, tcp:0]}, b: {type: other, listen: tcp:0}}")


def test_a_directory_cannot_be_included(mistakes, tmp_path):
    (tmp_path / "b").mkdir()
    assert mistakes("include: b\n") == ["b: cannot be read: Is a directory"]


def test_a_missing_file_is_a_mistake(tmp_path):
    with pytest.raises(ConfigErrors, match=r"none\.yaml: error: cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml", KINDS)


def test_a_path_that_no_file_can_have_is_a_mistake():
    with pytest.raises(ConfigErrors, match="cannot be read: embedded null byte"):
        load(Path("a\0b"), KINDS)


def test_an_endless_file_is_a_mistake():
    with pytest.raises(ConfigErrors, match="is longer than 1048576 octets"):
        load(Path("/dev/zero"), KINDS)


def test_a_type_that_is_near_none_is_told_all_there_are(mistakes):
    assert mistakes("services: {x: {listen: tcp:1}}") == ["1:12: unknown type of service 'x'; there are other, plain"]


def test_the_mistakes_of_a_stanza_are_told_though_its_type_is_misspelt(mistakes):
    assert mistakes("services:\n  plian:\n    size: x\n    listen: tcp:1\n") == [
        "2:3: unknown type of service 'plian'; did you mean 'plain'?",
        "3:11: services.plian.size: a size is a whole number and a unit, such as 512B, 64KiB, 25MiB or 1GiB, not 'x'",
    ]


def test_a_misspelt_key_is_one_mistake_and_not_two(mistakes):
    assert mistakes("services: {plain: {lisen: tcp:1}}") == [
        "1:20: unknown key 'services.plain.lisen'; did you mean 'listen'?"
    ]


@pytest.mark.parametrize("text", ["hunter2", "[hunter2]", "{file: a, env: hunter2}", "{flie: hunter2}", "{}"])
def test_a_secret_is_a_reference(mistakes, text):
    assert len(mistakes(stanza(f"password: {text}"))) == 1


def test_the_text_of_a_secret_is_never_shown(read):
    with pytest.raises(ConfigErrors) as caught:
        read(stanza("password: hunter2"))
    assert str(caught.value) == (
        "a.yaml:4:15: error: services.plain.password: "
        "a secret is {file: PATH}, {env: NAME} or {credential: NAME}, never its text"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stratum: 16", "4:14: services.plain.stratum: must be at most 15, not '16'"),
        ("either: {left: 0}", "4:20: services.plain.either.left: must be at least 1, not '0'"),
        ("either: {left: 2, rigth: a}", "4:23: unknown key 'services.plain.either.rigth'; did you mean 'right'?"),
        ("either: {name: n, length: x}", "4:31: services.plain.either.length: must be a whole number, not 'x'"),
        ("either: {nmae: n, length: 1}", "4:14: unknown key 'services.plain.either.nmae'; did you mean 'name'?"),
        ("either: x", "4:13: services.plain.either: must be a mapping of keys and values, not 'x'"),
        (
            "several: [{left: 2}, {name: n, lenght: 3}]",
            "4:36: unknown key 'services.plain.several.1.lenght'; did you mean 'length'?",
        ),
        ("pairs: {x: {right: c}}", "4:24: services.plain.pairs.x.right: must be 'a' or 'b', not 'c'"),
        ("pairs: {left: {left: 0}}", "4:26: services.plain.pairs.left.left: must be at least 1, not '0'"),
    ],
)
def test_of_a_union_only_the_branch_that_fits_best_is_told(mistakes, text, expected):
    assert mistakes(stanza(text)) == [expected]


def test_a_value_that_fits_no_branch_is_told_what_each_takes(mistakes):
    assert mistakes(stanza("sync: nevr")) == [
        "4:11: services.plain.sync: must be 'never' or 'always'; or a duration is a number and a unit, "
        "such as 250ms, 30s, 5m, 1h or 4d, not 'nevr'; did you mean 'never'?"
    ]
    assert mistakes(stanza("stratum: x")) == [
        "4:14: services.plain.stratum: must be 'auto', or a whole number, not 'x'"
    ]
    assert mistakes(stanza("stratum:")) == ["4:13: services.plain.stratum: must be 'auto'; or needs a value"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size: 511B", "4:11: services.plain.size: must be at least 512B, not '511B'"),
        ("few: [a, b, c]", "4:5: services.plain.few: must have at most 2 values"),
        ("day: tomorrow", "4:10: services.plain.day: must be a valid date or datetime, input is too short"),
        ("short: abcd", "4:12: services.plain.short: must have at most 3 characters"),
        ("short: A", "4:12: services.plain.short: must match ^[a-z]*$, not 'A'"),
        ("timeouts: {idle: 0s}", "4:22: services.plain.timeouts.idle: must be more than 0, not '0s'"),
    ],
)
def test_bounds_are_told_in_the_unit_of_the_value(mistakes, text, expected):
    assert mistakes(stanza(text)) == [expected]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tcp:7", "tcp:7:interface=127.0.0.1"),
        ("tcp:7:interface=127.0.0.1", "tcp:7"),
        ("ssl:7", "tcp:7:interface=127.0.0.1"),
        ("udp6:7", r"udp6:7:interface=\:\:1"),
    ],
)
def test_one_address_cannot_be_had_beside_all_of_its_port(mistakes, first, second):
    tls = "tls: {certificate: a}"
    text = f"services:\n  plain: {{listen: '{first}', {tls}}}\n  other: {{listen: '{second}', {tls}}}\n"
    assert mistakes(text) == [f"3:19: services.other.listen: {second} is taken by services.plain"]


def test_other_addresses_ports_and_families_are_had_together(read):
    addresses = "tcp:7, tcp6:7, udp:7, udp:8:interface=127.0.0.1, udp:8:interface=127.0.0.2, tcp:8:interface=127.0.0.1"
    assert len(read(f"services: {{plain: {{listen: [{addresses}]}}}}\n").file.services["plain"].listen) == 6
