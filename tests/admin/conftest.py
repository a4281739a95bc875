"""A daemon, and a client of its admin socket."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.operated import Operated, operating


@pytest.fixture
def operate(loop, tmp_path) -> Iterator[Any]:
    """A function that runs a daemon with these services."""
    with ExitStack() as stack:

        def begin(**services: Any) -> Operated:
            return stack.enter_context(operating(loop, tmp_path, {"services": services}))

        yield begin
