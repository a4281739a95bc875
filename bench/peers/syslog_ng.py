"""syslog-ng: a network source without parsing into a file, its limits raised so that the sender never waits for one."""

import shutil

from bench.obtain import debian, libraries
from bench.server import Command, Place

CONFIGURATION = """@version: 3.38
options {{
  stats-freq(0); log-fifo-size(200000); log-msg-size(65536); flush-lines(1000);
  frac-digits(6); keep-hostname(yes); use-dns(no);
}};
source lines {{
  network(ip("127.0.0.1") port({port}) transport("tcp") flags(no-parse) log-iw-size(100000) log-fetch-limit(1000));
}};
destination file {{ file("{folder}/lines.log" template("$ISODATE $SOURCEIP $MESSAGE\n")); }};
log {{ source(lines); destination(file); flags(flow-control); }};
"""


TEXT = "$ISODATE $SOURCEIP $MESSAGE"
JSON = "$(format-json time=$ISODATE peer=$SOURCEIP text=$MESSAGE)"
PARSED = (
    "$(format-json time=$R_ISODATE peer=$SOURCEIP text=$RAWMSG facility=$FACILITY severity=$LEVEL"
    " timestamp=$S_ISODATE host=$HOST app=$PROGRAM message=$MESSAGE)"
)


def logger(place: Place) -> Command:
    return _syslog_ng(place, CONFIGURATION)


def logger_json(place: Place) -> Command:
    return _syslog_ng(place, CONFIGURATION.replace(TEXT, JSON))


def logger_parsed(place: Place) -> Command:
    return _syslog_ng(place, CONFIGURATION.replace(TEXT, PARSED).replace("flags(no-parse)", "flags(store-raw-message)"))


def _syslog_ng(place: Place, configuration: str) -> Command:
    root = debian("syslog-ng-core")
    file = place.folder / "syslog-ng.conf"
    file.write_text(configuration.format(folder=place.folder, port=place.port))
    modules = next(root.glob("usr/lib/syslog-ng/3.*"))
    shutil.copytree(root / "usr/share/syslog-ng", place.folder / "share")
    names = {"persist-file": "persist", "pidfile": "pid", "control": "control"}
    paths = [f"--{option}={place.folder / name}" for option, name in names.items()]
    argv = (
        str(root / "usr/sbin/syslog-ng"),
        "-F",
        "--no-caps",
        f"--cfgfile={file}",
        f"--module-path={modules}",
        *paths,
    )
    return Command(argv, libraries(root))
