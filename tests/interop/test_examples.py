"""The small servers of the teaching texts, each with the client that goes with it."""

import re
import subprocess
import sys
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


@pytest.mark.parametrize("name", SAID)
def test_a_client_of_the_teaching_texts_gets_its_answers(tmp_path, name: str) -> None:
    config = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text("utf-8"))
    ((service, stanza),) = config["services"].items()
    port = stanza["listen"].split(":")[1]
    stanza["listen"] = stanza["listen"].replace(port, "0")
    client = EXAMPLES / f"{name}_client.py"
    assert port in client.read_text()
    with Multid(tmp_path, config) as multid:
        said = subprocess.run(
            [sys.executable, client, str(multid.port(service))],
            input="first\n第二\n",
            env={"PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=20,
            check=True,
        )
        assert re.fullmatch(SAID[name], said.stdout), said.stdout
        multid.stop()
        assert "Traceback" not in multid.log
