"""Who may log in: a htpasswd file with bcrypt passwords, verified outside the reactor's thread.

The file has one `user:hash` a line; blank lines and those that begin with `#` say nothing. It is read again when it
has changed; while it cannot be read nobody is let in, or turned away for good (454). An unknown user takes as long as
a wrong password. A peer (IPv4 address, IPv6 /64) that fails more often than `FAILURES`, of which one is forgiven
every `FORGIVEN` seconds, is told to come again later, without a look at the password.
"""

import ipaddress
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import bcrypt
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from multid.mail.reply import Reply
from multid.mail.sasl import Credentials

FAILURES = 10
FORGIVEN = 30.0
MAX_PEERS = 4096
LONGEST = 72
"""Octets of a password that bcrypt looks at."""

WELCOME = Reply(235, "2.7.0", "Authentication successful")
BAD_CREDENTIALS = Reply(535, "5.7.8", "Authentication credentials invalid")
CANNOT_TELL = Reply(454, "4.7.0", "Temporary authentication failure")
TOO_MANY_FAILURES = Reply(454, "4.7.0", "Too many authentication failures, try again later")

_LINE = re.compile(r"([^:]+):(\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53})")


def read_users(path: Path) -> dict[str, bytes]:
    """Return the hash of each user; OSError, or ValueError that names the line, never the hash."""
    users = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{path}:{number}: a line is USER:HASH with a bcrypt hash, as 'multid passwd' makes it")
        users[match[1]] = match[2].encode("ascii")
    return users


class Users:
    """The file as it is now; may be asked in several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._hashes = read_users(path)
        self._nobody = self._other()

    def is_right(self, credentials: Credentials) -> bool:
        """Whether the password is the user's; takes as long for one who is unknown."""
        self._refresh()
        hashed = self._hashes.get(credentials.user)
        fits = bcrypt.checkpw(credentials.password[:LONGEST], hashed or self._nobody)
        return fits and hashed is not None

    def _refresh(self) -> None:
        stamp = self._stamp()
        if stamp != self._seen:
            self._hashes = read_users(self._path)
            self._nobody = self._other()
            self._seen = stamp

    def _stamp(self) -> tuple[int, int, int]:
        state = self._path.stat()
        return state.st_ino, state.st_mtime_ns, state.st_size

    def _other(self) -> bytes:
        """Return a hash that no password has, of the cost that most of the file's have."""
        costs = [hashed[4:6] for hashed in self._hashes.values()] or [b"12"]
        return b"$2b$%s$%s" % (max(set(costs), key=costs.count), b"." * 53)


class Failures:
    """How often each peer has failed of late."""

    def __init__(self) -> None:
        self._peers: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, peer: str, now: float) -> float:
        """Return the failures that are not forgiven yet."""
        number, at = self._peers.get(peer, (0.0, now))
        return max(0.0, number - (now - at) / FORGIVEN)

    def add(self, peer: str, now: float) -> None:
        """Count one; of too many peers the one that failed longest ago is forgotten."""
        self._peers[peer] = (self.count(peer, now) + 1, now)
        self._peers.move_to_end(peer)
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)


class Authenticator:
    """Answers AUTH; passwords are verified in `pool`, which is started."""

    log = Logger()

    def __init__(self, reactor: Any, pool: ThreadPool, users: Users, failures: Failures) -> None:
        self._reactor = reactor
        self._pool = pool
        self._users = users
        self._failures = failures

    def verify(self, credentials: Credentials, host: str) -> Deferred[Reply]:
        """Return the reply to AUTH; never fails."""
        return Deferred.fromCoroutine(self._verify(credentials, host))

    async def _verify(self, credentials: Credentials, host: str) -> Reply:
        peer = _group(host)
        if self._failures.count(peer, self._reactor.seconds()) >= FAILURES:
            return TOO_MANY_FAILURES
        try:
            is_right = await deferToThreadPool(self._reactor, self._pool, self._users.is_right, credentials)
        except (OSError, ValueError) as error:
            self.log.error("AUTH: {error}", error=str(error))
            return CANNOT_TELL
        if is_right:
            return WELCOME
        self._failures.add(peer, self._reactor.seconds())
        self.log.warn("AUTH: a wrong user name or password from {host}", host=host)
        return BAD_CREDENTIALS


def _group(host: str) -> str:
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((int(ipaddress.IPv6Address(host.partition("%")[0])) >> 64 << 64, 64)))
