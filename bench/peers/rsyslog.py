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


JSON = """template(name="line" type="list" option.jsonf="on") {{
  property(outname="time" name="timegenerated" dateFormat="rfc3339" format="jsonf")
  property(outname="peer" name="fromhost-ip" format="jsonf") property(outname="text" name="rawmsg" format="jsonf")
"""
PARSED = """template(name="line" type="list" option.jsonf="on") {{
  property(outname="time" name="timegenerated" dateFormat="rfc3339" format="jsonf")
  property(outname="peer" name="fromhost-ip" format="jsonf") property(outname="text" name="rawmsg" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf") property(outname="app" name="app-name" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
"""


def logger(place: Place) -> Command:
    return _rsyslog(place, CONFIGURATION)


def logger_json(place: Place) -> Command:
    return _rsyslog(place, _with_template(JSON))


def logger_parsed(place: Place) -> Command:
    return _rsyslog(place, _with_template(PARSED).replace(' parser="none"', ""))


def _with_template(template: str) -> str:
    head, _, rest = CONFIGURATION.partition("template(")
    return head + template + "}}" + rest.partition("}}")[2]


def _rsyslog(place: Place, configuration: str) -> Command:
    root = debian("rsyslog")
    file = place.folder / "rsyslog.conf"
    file.write_text(configuration.format(folder=place.folder, port=place.port))
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
