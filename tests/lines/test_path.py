"""Wherever a path leads, it is below the folder that the operator wrote."""

import os
import re
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from multid.lines.path import PathTemplate

FIELDS = ["{service}", "{peer}", "{host}", "%Y", "%H", "%B", "%%"]
PIECES = st.lists(st.sampled_from([*FIELDS, "a", "-", ".", "log"]), min_size=1, max_size=4).map("".join)
TEMPLATES = st.lists(PIECES, min_size=1, max_size=4).map(lambda parts: "/".join(["/var/log/x", *parts]))
VALUES = st.text(max_size=200) | st.sampled_from(["..", ".", "", "../../etc/passwd", "/etc/passwd", "a/../..", "\0"])
TIMES = st.integers(0, 4_000_000_000).map(float)


def template(text: str) -> PathTemplate:
    try:
        return PathTemplate(text)
    except ValueError:
        assume(False)
        raise


@given(TEMPLATES, VALUES, VALUES, VALUES, TIMES)
def test_no_value_leads_out_of_the_root_or_deeper(text: str, service: str, peer: str, host: str, when: float) -> None:
    path = template(text)
    found = path.expand(service, peer, host, when)
    parts = PurePosixPath(found).relative_to(path.root).parts
    assert ".." not in parts
    assert os.path.normpath(found).startswith(path.root)
    assert found.count("/") == text.count("/")
    assert found.isprintable()
    assert all(len(part) < 1024 for part in parts)


@given(
    TEMPLATES.map(lambda text: re.sub("{peer}|{host}|%[YHB]", "{service}", text)),
    st.tuples(VALUES, VALUES, TIMES),
    st.tuples(VALUES, VALUES, TIMES),
)
def test_a_fixed_path_depends_on_the_service_alone(
    text: str, one: tuple[str, str, float], other: tuple[str, str, float]
) -> None:
    path = template(text)
    assert path.is_fixed or "%" in text
    assert path.expand("log", *one) == path.expand("log", *other)


@pytest.mark.parametrize("text", ["/var/log/x/..", "/var/log/.", "/var/log/", "..", "/var/log/{peer}/../x", ""])
def test_a_path_names_a_file_below_its_folder(text: str) -> None:
    with pytest.raises(ValueError, match="below its folder"):
        PathTemplate(text)


@pytest.mark.parametrize(
    "end", ["-20261120T112233.123Z", "-20261120T112233.123Z.gz", "-20261120T112233.123Z.zst.tmp", ".next"]
)
def test_a_host_does_not_pass_for_what_was_put_away_of_another(end: str) -> None:
    path = PathTemplate("/var/log/x/{host}")
    assert path.expand("log", "", f"web{end}", 0.0) == f"/var/log/x/web{end}_"
    assert path.expand("log", "", f"web{end}.org", 0.0) == f"/var/log/x/web{end}.org"


@given(VALUES)
def test_a_host_is_one_name_that_is_no_hidden_file(host: str) -> None:
    name = PathTemplate("/var/log/{host}").expand("log", "", host, 0.0).removeprefix("/var/log/")
    assert name
    assert not name.startswith(".")
    assert not set(name) & set("/\0 *?;|&$`'\"\\")
