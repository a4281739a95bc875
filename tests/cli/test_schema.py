"""`multid schema` prints the schema of the kinds that are there."""

import json

from click.testing import CliRunner

from multid.cli import main
from multid.kinds import discover


def test_it_prints_one_json_object_with_every_kind():
    printed = json.loads(CliRunner().invoke(main, ["schema"]).stdout)
    assert set(discover()) == set(printed["properties"]["services"]["properties"])
