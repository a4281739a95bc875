"""The status page in a real browser: it is drawn, and nothing that it shows executes."""

import socket
import subprocess

import pytest

from tests.process import Multid
from tests.programs import need

LOOPBACK = "tcp:0:interface=127.0.0.1"
EVIL = "<script>document.title='pwned'"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of the page of a daemon with a service whose name would like to be a script."""
    need("chromium")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "admin": {"http": f"tcp:{port}:interface=127.0.0.1"},
        "services": {"echo": {"listen": LOOPBACK}, EVIL: {"type": "discard", "listen": LOOPBACK}},
    }
    with Multid(tmp_path_factory.mktemp("page"), config) as multid:
        multid.wait_for("pwned': discard up on")
        yield f"http://127.0.0.1:{port}/"


def test_it_is_drawn_and_nothing_in_it_executes(url, tmp_path) -> None:
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}", "--timeout=2500", "--dump-dom",
    ]  # fmt: skip
    page = subprocess.run([*command, url], capture_output=True, text=True, timeout=90, check=True).stdout
    assert "<title>multid</title>" in page
    assert "&lt;script&gt;document.title='pwned'" in page
    assert page.count("<script") == 1, "its own"
    assert "tcp:" in page
    assert "echo" in page
