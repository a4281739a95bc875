"""A disk that is not virtual: every fsync and fdatasync of a server takes longer, as `bench/load/slowsync.c` says."""

from dataclasses import replace

from bench.obtain import compiled
from bench.row import Contender
from bench.server import Command, Place


def on_slow_disk(contender: Contender, milliseconds: int) -> Contender:
    """The contender with so much added to each fsync."""

    def slowed(place: Place) -> Command:
        command = contender(place)
        shim = compiled("load/slowsync", "-shared", "-fPIC")
        slow = {"LD_PRELOAD": str(shim), "SLOWSYNC_US": str(milliseconds * 1000)}
        return replace(command, env={**command.env, **slow})

    return slowed if milliseconds else contender
