"""Postfix with a configuration, a queue and a port of its own, on loopback; an installed Postfix is not touched.

Its master demands root, and an account and a group used by nothing else: two of Debian's base system stand in.
"""

import os
import pwd
import shutil
from pathlib import Path

from bench.obtain import MissingError, debian, libraries
from bench.server import Command, Place

OWNER, DROP_GROUP, UNPRIVILEGED = "uucp", "lp", "nobody"

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
meta_directory = {folder}/etc
mail_owner = {owner}
setgid_group = {group}
default_privs = {unprivileged}
import_environment = MAIL_CONFIG LANG=C LD_LIBRARY_PATH={libraries} {preload}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = bench.example
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{next_hop}
alias_maps =
alias_database =
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
default_process_limit = 400
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
in_flow_delay = 0
message_size_limit = 51200000
maillog_file_prefixes = {folder}
maillog_file = {folder}/output
"""

HOLD = "smtpd_data_restrictions = check_client_access static:HOLD\n"

SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

QUEUE = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"]


def smtp_in(place: Place) -> Command:
    """Accepts and stores; every mail goes on hold, so nothing else is done with it."""
    return _postfix(place, HOLD)


def smtp_through(place: Place) -> Command:
    return _postfix(place, "")


def _postfix(place: Place, more: str) -> Command:
    if os.geteuid() != 0:
        raise MissingError("its master process demands root")
    root = debian("postfix")
    found = libraries(root)
    owner = pwd.getpwnam(OWNER).pw_uid
    _directories(place.folder, owner)
    main = MAIN.format(
        folder=place.folder,
        root=root,
        owner=OWNER,
        group=DROP_GROUP,
        unprivileged=UNPRIVILEGED,
        libraries=found["LD_LIBRARY_PATH"],
        preload="LD_PRELOAD SLOWSYNC_US",
        next_hop=place.next_hop,
    )
    (place.folder / "etc/main.cf").write_text(main + more)
    (place.folder / "etc/master.cf").write_text(SERVICES.format(port=place.port))
    return Command((str(root / "usr/lib/postfix/sbin/master"), "-d", "-c", str(place.folder / "etc")), found)


def _directories(folder: Path, owner: int) -> None:
    (folder / "etc").mkdir()
    for name in ["", *QUEUE, "public", "maildrop", "pid"]:
        (folder / "queue" / name).mkdir(exist_ok=True)
    (folder / "data").mkdir()
    for name in [*(f"queue/{name}" for name in [*QUEUE, "public", "maildrop"]), "data"]:
        os.chown(folder / name, owner, -1)
        (folder / name).chmod(0o700)
    for name, mode in {"queue/public": 0o710, "queue/maildrop": 0o730}.items():
        shutil.chown(folder / name, group=DROP_GROUP)
        (folder / name).chmod(mode)
