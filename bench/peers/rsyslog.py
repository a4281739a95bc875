"""rsyslog, as fast as its configuration makes it: imptcp, one worker, large batches, no parsing."""

from bench.obtain import debian, libraries
from bench.server import Command, Place

CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="64k")
main_queue(queue.type="FixedArray" queue.size="100000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
module(load="imptcp" threads="1")
module(load="pmnull")
parser(name="none" type="pmnull")
template(name="line" type="list") {{
  property(name="timegenerated" dateFormat="rfc3339") constant(value=" ")
  property(name="fromhost-ip") constant(value=" ") property(name="rawmsg") constant(value="\\n")
}}
input(type="imptcp" port="{port}" address="127.0.0.1" ruleset="lines")
ruleset(name="lines" parser="none") {{
  action(type="omfile" file="{folder}/lines.log" template="line" ioBufferSize="256k" flushOnTXEnd="on")
}}
"""


def logger(place: Place) -> Command:
    root = debian("rsyslog")
    file = place.folder / "rsyslog.conf"
    file.write_text(CONFIGURATION.format(folder=place.folder, port=place.port))
    modules = root / "usr/lib/x86_64-linux-gnu/rsyslog"
    argv = (
        str(root / "usr/sbin/rsyslogd"),
        "-n",
        "-C",
        "-f",
        str(file),
        "-i",
        str(place.folder / "pid"),
        "-M",
        str(modules),
    )
    return Command(argv, libraries(root))
