"""The wheel and the editable install: the plugin is found, and nothing is left behind."""

import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import multid

pytestmark = pytest.mark.campaign

PROJECT = Path(multid.__file__).parent.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is published, so that nothing is built in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    for name in ("multid", "twisted"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    return next(folder.glob("*.whl"))


def pip(python: str | Path, *arguments: str) -> None:
    quiet = ("-q", "--disable-pip-version-check", "--no-cache-dir")
    subprocess.run([python, "-m", "pip", *arguments, *quiet], check=True, capture_output=True, timeout=120)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment that sees the test environment's libraries, but not its multid."""
    venv.create(tmp_path / "venv", with_pip=True)
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    shared = tmp_path / "shared"
    shared.mkdir()
    for folder in map(Path, site.getsitepackages()):
        for entry in folder.iterdir():
            if "multid" not in entry.name and entry.suffix != ".pth" and not (shared / entry.name).exists():
                (shared / entry.name).symlink_to(entry)
    (packages / "shared.pth").write_text(f"{shared}\n")
    return tmp_path / "venv"


def plugins(environment: Path) -> str:
    """What `twistd --help` says in this environment, from a folder that is not ours."""
    code = "from twisted.scripts.twistd import run; run()"
    said = subprocess.run(
        [environment / "bin" / "python", "-c", code, "--help"], cwd="/", capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_the_wheel_holds_the_plugin_and_no_cache(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "twisted/plugins/multid_plugin.py" in names
    assert not [name for name in names if "dropin.cache" in name or name in {"twisted/__init__.py"}]
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_installed_it_is_listed_and_uninstalled_nothing_is_left(
    editable: bool, wheel: Path, source: Path, environment: Path
) -> None:
    python = environment / "bin" / "python"
    target = ["--no-build-isolation", "--editable", str(source)] if editable else [str(wheel)]
    pip(python, "install", "--no-deps", *target)
    assert "multid" in plugins(environment)
    pip(python, "uninstall", "--yes", "multid")
    assert "multid" not in plugins(environment)
    left = [path for path in (environment / "lib").rglob("*multid*") if path.suffix != ".pyc"]
    assert left == []
    subprocess.run([python, "-c", "import twisted.internet.reactor"], check=True, capture_output=True)
