"""The small servers of the teaching texts, each with the client that goes with it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.process import Multid

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
HELLO = "Hello, Michael!\nHello, Tracy!\nHello, 莎拉!\n"
SAID = {
    "greeter": "Welcome!\n" + HELLO,
    "timestamp": r"(\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] (first|第二)\n){2}",
    "date": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\n",
    "banner": r"欢迎访问, thank you for connecting\.\n",
    "udp_answerer": HELLO,
}


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(SAID)


def stanza_of(name: str) -> dict:
    """Return the one stanza of an example."""
    ((_, stanza),) = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text("utf-8"))["services"].items()
    return stanza


@pytest.fixture(scope="module")
def multid(tmp_path_factory) -> Iterator[Multid]:
    """A daemon with the stanzas of all examples, each on a port of its own."""
    services = {name: stanza_of(name) for name in SAID}
    for stanza in services.values():
        stanza["listen"] = re.sub(r"(?<=:)\d+", "0", stanza["listen"], count=1)
    with Multid(tmp_path_factory.mktemp("examples"), {"services": services}) as multid:
        yield multid
        multid.stop()
        assert "Traceback" not in multid.log


@pytest.mark.parametrize("name", SAID)
def test_a_client_of_the_teaching_texts_gets_its_answers(multid: Multid, name: str) -> None:
    client = EXAMPLES / f"{name}_client.py"
    assert stanza_of(name)["listen"].split(":")[1] in client.read_text(), "both name the same port"
    said = subprocess.run(
        [sys.executable, client, str(multid.port(name))],
        input="first\n第二\n",
        env={"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=True,
    )
    assert re.fullmatch(SAID[name], said.stdout), said.stdout
