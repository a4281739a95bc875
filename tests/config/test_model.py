"""The models that every part of the file builds on."""

import json

import pytest
from pydantic import ValidationError

from multid.config.model import Duration, File, Limits, Model, Network, Networks, Rate, Secret, ServiceConfig, Size


class Units(Model):
    duration: Duration = 90.0
    size: Size = 65536
    rate: Rate | None = 0.5
    networks: Networks = ("10.0.0.0/8",)
    network: Network = "::1"


def test_values_are_written_to_json_as_the_file_writes_them():
    assert json.loads(Units().model_dump_json()) == {
        "duration": "90s", "size": "64KiB", "rate": "30/min", "networks": ["10.0.0.0/8"], "network": "::1/128"
    }  # fmt: skip


def test_what_is_written_to_json_is_read_back():
    assert Units.model_validate_json(Units().model_dump_json()) == Units()


def test_a_service_is_written_with_the_keys_of_its_kind():
    class Kind(ServiceConfig):
        own: int = 1

    file = File(services={}).model_copy(update={"services": {"x": Kind(type="kind", listen=("tcp:1",), own=2)}})
    written = json.loads(file.model_dump_json())["services"]["x"]
    assert (written["own"], written["listen"], written["timeouts"]["idle"]) == (2, ["tcp:1"], "5m")


def test_values_cannot_be_changed():
    with pytest.raises(ValidationError):
        Limits().connections = 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite(value):
    with pytest.raises(ValidationError):
        Units(duration=value)


@pytest.mark.parametrize("text", ["secret", "secret\n", "secret\r\n"])
def test_a_secret_is_read_from_a_file_without_its_line_end(tmp_path, text):
    (tmp_path / "pw").write_bytes(text.encode())
    assert Secret(file=tmp_path / "pw").read() == "secret"


def test_of_a_secret_only_one_line_end_is_taken_away(tmp_path):
    (tmp_path / "pw").write_bytes(b" a\nb \n\n")
    assert Secret(file=tmp_path / "pw").read() == " a\nb \n"


def test_a_secret_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("PW", "secret")
    assert Secret(env="PW").read() == "secret"


def test_a_secret_is_read_from_a_credential(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "pw").write_text("secret")
    assert Secret(credential="pw").read() == "secret"


@pytest.mark.parametrize("secret", [Secret(env="NO_SUCH"), Secret(file="/no/such"), Secret(credential="no-such")])
def test_a_secret_that_is_not_there_is_an_error_that_names_it(secret, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises((OSError, LookupError), match=r"(?i)no.such"):
        secret.read()


@pytest.mark.parametrize("name", ["", "../pw", "a/b", ".", ".."])
def test_a_credential_is_a_name_and_no_path(name):
    with pytest.raises(ValidationError):
        Secret(credential=name)


def test_an_ssl_address_needs_a_certificate():
    with pytest.raises(ValidationError, match="needs 'tls'"):
        ServiceConfig(listen="ssl:1")
    assert ServiceConfig(listen="ssl:1", tls={"certificate": "a.pem"}).tls
