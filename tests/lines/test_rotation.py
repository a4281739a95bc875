"""What becomes of files that were put away."""

import calendar
import gzip
import os

import pytest

from multid.lines import rotation
from multid.lines.rotation import Rotation


@pytest.fixture
def put_away(tmp_path):
    """Three files that were put away, of 1000 octets each, and a descriptor of their folder."""
    for second in "123":
        (tmp_path / f"lines.log-20261120T11223{second}.000Z").write_bytes(b"x" * 999 + b"\n")
    folder = os.open(tmp_path, os.O_RDONLY)
    yield folder
    os.close(folder)


@pytest.mark.parametrize("only", [{"keep": 1}, {"age": 1.5}])
def test_what_is_to_be_removed_is_not_compressed_before(put_away, only, monkeypatch):
    compressed = []
    monkeypatch.setattr(rotation, "compress", lambda name, *_: compressed.append(name))
    third = calendar.timegm((2026, 11, 20, 11, 22, 33))
    rotation.tidy(Rotation(compress="gzip", **only), "lines.log", put_away, third + 1)
    assert compressed == os.listdir(put_away) == ["lines.log-20261120T112233.000Z"]


def test_a_total_is_of_compressed_files(put_away):
    rotation.tidy(Rotation(compress="gzip", total=1000), "lines.log", put_away, 0.0)
    assert sorted(os.listdir(put_away)) == [f"lines.log-20261120T11223{second}.000Z.gz" for second in "123"]


def test_a_file_and_what_it_was_compressed_to_are_one(put_away, tmp_path):
    """As a crash between the two leaves them."""
    (tmp_path / "lines.log-20261120T112233.000Z.gz").write_bytes(gzip.compress(b"x" * 999 + b"\n"))
    rotation.tidy(Rotation(compress="gzip", keep=2), "lines.log", put_away, 0.0)
    assert sorted(os.listdir(put_away)) == [f"lines.log-20261120T11223{second}.000Z.gz" for second in "23"]
