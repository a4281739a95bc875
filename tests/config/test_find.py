"""Without a name, the first configuration that is there is taken; a name is taken as it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from multid.config import find
from multid.config.find import admin_socket, find_config
from multid.config.load import load
from multid.config.problems import ConfigErrors


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "SEARCHED", (*find.SEARCHED[:-1], str(tmp_path / "etc/multid.yaml")))
    for name in ("multid.yaml", "config/multid.yaml", "etc/multid.yaml", "other.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("services: {}\n")
    return tmp_path


def test_what_is_named_is_taken_whether_it_is_there_or_not(here):
    assert find_config("none.yaml", {"MULTID_CONFIG": "other.yaml"}, here) == here / "none.yaml"


def test_then_the_environment(here):
    assert find_config(None, {"MULTID_CONFIG": "other.yaml"}, here) == here / "other.yaml"
    assert find_config(None, {"MULTID_CONFIG": "/none.yaml"}, here) == Path("/none.yaml")


def test_an_empty_variable_is_none(here):
    assert find_config(None, {"MULTID_CONFIG": ""}, here) == here / "multid.yaml"


def test_then_the_first_that_is_there(here):
    for name in ("multid.yaml", "config/multid.yaml", "etc/multid.yaml"):
        assert find_config(None, {}, here) == here / name
        (here / name).unlink()
        (here / name).mkdir()
    with pytest.raises(ConfigErrors, match="no configuration: there is no "):
        find_config(None, {}, here)


def test_a_name_is_shown_as_it_was_given():
    assert str(find_config("a.yaml", {}, Path())) == "a.yaml"


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("services: {}", "var/admin.sock"),
        ("state_dir: /var/lib/multid", "/var/lib/multid/admin.sock"),
        ("admin: {socket: /run/multid/admin.sock}\nstate_dir: x", "/run/multid/admin.sock"),
        ("admin:\nstate_dir:", "var/admin.sock"),
        ("admin: x\nstate_dir: [y]", "var/admin.sock"),
        ("admin: {socket: [z], scoket: y}\nserv: 1", "var/admin.sock"),
        ("- a", "var/admin.sock"),
        ("", "var/admin.sock"),
        ("{", "var/admin.sock"),
        ('{"admin": {"socket": "json.sock"}}', "json.sock"),
        ("admin:\n  # comment\n\n  socket: /run/y.sock\n  http: tcp:1\nstate_dir: z\nx: [", "/run/y.sock"),
        ("admin: [\nstate_dir: here\n", "here/admin.sock"),
        ("\tbroken\nadmin:\n  socket: s.sock\nservices:\n  : : :\n", "s.sock"),
    ],
)
def test_the_admin_socket_is_found_in_any_file_that_can_be_read(tmp_path, text, socket):
    (tmp_path / "a.yaml").write_text(text)
    assert admin_socket(tmp_path / "a.yaml") == Path(socket)


def test_without_a_file_that_can_be_read_there_is_no_socket(tmp_path):
    with pytest.raises(ConfigErrors, match="cannot be read"):
        admin_socket(tmp_path / "none.yaml")


def test_the_admin_socket_is_that_of_the_models(tmp_path):
    (tmp_path / "a.yaml").write_text("services: {}")
    file = load(tmp_path / "a.yaml", {}).file
    assert admin_socket(tmp_path / "a.yaml") == (file.admin.socket or file.state_dir / "admin.sock")


def test_it_needs_neither_pydantic_nor_twisted():
    code = "import sys, multid.config.find; print([m for m in sys.modules if m in ('pydantic', 'twisted')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_file_that_we_are_not_let_near_is_the_one_that_is_found(tmp_path, monkeypatch):
    def is_file(path):
        if path.name == "multid.yaml" and path.parent.name == "config":
            raise PermissionError(13, "Permission denied", str(path))
        return False

    monkeypatch.setattr(Path, "is_file", is_file)
    assert find_config(None, {}, tmp_path) == tmp_path / "config" / "multid.yaml"
