"""The status page in a real browser: it is drawn, nothing that it shows executes, and it changes while one looks."""

import os
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.browser import Browser
from tests.process import Multid, free_port

LOOPBACK = "tcp:0:interface=127.0.0.1"
EVIL = "<script>document.title='pwned'"
EVIL_SENDER = "\"<img src='x' onerror='document.title=1'>\"@example.org"
SERVICES = {
    "echo": {"listen": LOOPBACK},
    EVIL: {"type": "discard", "listen": LOOPBACK},
    "time": {"listen": "tcp:1:interface=192.0.2.1"},
    "smtp": {"listen": LOOPBACK, "mode": "hold"},
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def url() -> str:
    return f"http://127.0.0.1:{free_port()}/"


@pytest.fixture(scope="module", autouse=True)
def multid(tmp_path_factory, url) -> Iterator[Multid]:
    """A daemon whose service, and the sender of a mail, are named as what would like to be executed."""
    port = url.strip("/").rpartition(":")[2]
    config = {"admin": {"http": f"tcp:{port}:interface=127.0.0.1"}, "services": SERVICES}
    with Multid(tmp_path_factory.mktemp("page"), config) as multid:
        with smtplib.SMTP("127.0.0.1", multid.port("smtp"), timeout=20) as client:
            client.ehlo("client.example")
            assert client.docmd(f"MAIL FROM:<{EVIL_SENDER}>")[0] == 250
            assert client.docmd("RCPT TO:<you@example.com>")[0] == 250
            assert client.data("Subject: <b>hello</b>\r\n\r\nhello\r\n")[0] == 250
        yield multid


@pytest.fixture(params=["scripts", "no-scripts"])
def scripts(request) -> bool:
    return request.param == "scripts"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_drawn_for_every_reader_and_nothing_in_it_executes(browser, url, dark, width, scripts) -> None:
    """With PICTURES=FOLDER in the environment, what they see is kept there."""
    browser.complaints.clear()
    browser.look(dark=dark, width=width, scripts=scripts)
    browser.visit(url)
    text = browser.value("document.body.innerText")
    for shown in ("echo", EVIL, EVIL_SENDER, "Mail queue of smtp", "cannot listen on tcp:1", "Last events"):
        assert shown in text
    assert browser.value("document.title") == "multid"
    assert browser.value("document.querySelectorAll('script, img').length") == 1, "its own script"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert browser.value(ground) == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert browser.value("document.documentElement.scrollWidth <= innerWidth"), "nothing is beyond the edge"
    assert browser.complaints == []
    if folder := os.environ.get("PICTURES"):
        name = f"{'dark' if dark else 'light'}-{width}{'' if scripts else '-no-scripts'}.png"
        (Path(folder) / name).write_bytes(browser.picture())


def test_it_changes_while_one_looks(browser, multid, url) -> None:
    browser.look()
    browser.visit(url)
    row = "[...document.querySelectorAll('tbody tr')].find(row => row.innerText.startsWith('echo'))"
    opened = f"{row}.cells[3].innerText"
    assert browser.value(opened) == "0"
    browser.value("window.mark = 'the same page'")
    with multid.connect("echo"):
        browser.until(f"{opened} == '1'")
    browser.until(f"{opened} == '0'")
    assert browser.value("window.mark") == "the same page"
