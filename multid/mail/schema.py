"""The tables of the SQLite spool, and how values become rows and rows values. Pure but for the connection it is given.

`mail` has one row a mail; `content` is its octets, or NULL if they lie in a file. `recipient` has one row a recipient.
Both are keyed by the queue id's number, which grows with time: inserts go to the end of the tables, and an id is found
without another index. The content is the last column, so that a listing never reads it.
"""

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any, cast

from multid.mail.address import Pattern
from multid.mail.envelope import Envelope, Recipient, queue_id, queue_number
from multid.mail.queued import Content, Delivery, DeliveryState, MailState, Query, QueuedMail, Update
from multid.mail.reply import Reply

VERSION = 1
"""Of the tables, kept in `PRAGMA user_version`."""

_TABLES = """
CREATE TABLE mail (
    number INTEGER PRIMARY KEY, state TEXT NOT NULL, note TEXT NOT NULL, crashes INTEGER NOT NULL,
    sender TEXT NOT NULL, size INTEGER NOT NULL, received_at REAL NOT NULL, body TEXT NOT NULL,
    smtputf8 INTEGER NOT NULL, ret TEXT, envid TEXT, origin TEXT NOT NULL, peer TEXT NOT NULL, helo TEXT NOT NULL,
    auth_user TEXT NOT NULL, tls TEXT NOT NULL, content BLOB
);
CREATE TABLE recipient (
    mail INTEGER NOT NULL, place INTEGER NOT NULL, address TEXT NOT NULL, notify TEXT NOT NULL, orcpt TEXT,
    state TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL, code INTEGER, enhanced TEXT, text TEXT,
    remote TEXT NOT NULL, warned INTEGER NOT NULL,
    PRIMARY KEY (mail, place)
) WITHOUT ROWID;
"""

_MAIL = (
    "number, state, note, crashes, sender, size, received_at, body, smtputf8, ret, envid, origin, peer, helo, "
    "auth_user, tls"
)
_RECIPIENT = "mail, place, address, notify, orcpt, state, due, attempts, code, enhanced, text, remote, warned"


def _as_json(columns: str) -> str:
    """Return the expressions of JSON values; times are text, for SQLite rounds them as numbers."""
    return ", ".join(
        f"printf('%!.17g', {name})" if name in {"received_at", "due"} else name for name in columns.split(", ")
    )


_PAGE = f"""
SELECT json_group_array(json_array({_as_json(_MAIL)}, json(
    (SELECT json_group_array(json_array({_as_json(_RECIPIENT)})) FROM recipient WHERE mail = number)
))) FROM (SELECT {_MAIL} FROM mail WHERE {{}} ORDER BY number LIMIT {{:d}})
"""
_SCAN = """
SELECT json_group_array(json_array(
    number, state, (SELECT printf('%!.17g', MIN(due)) FROM recipient WHERE mail = number AND state = 'open')
)) FROM mail
"""
"""An answer is one row: at each row the interpreter is given away, and a busy reactor is slow to give it back."""

_INSERT_MAIL = f"INSERT INTO mail ({_MAIL}, content) VALUES "
_INSERT_RECIPIENT = f"INSERT INTO recipient ({_RECIPIENT}) VALUES "
_ROWS = 20
"""Rows of one statement at most."""

_UPDATE_RECIPIENT = """
UPDATE recipient SET state = ?, due = ?, attempts = ?, code = ?, enhanced = ?, text = ?, remote = ?, warned = ?
WHERE mail = ? AND place = ?
"""
_UPDATE_DUE = "UPDATE recipient SET due = ? WHERE mail = ? AND state = 'open'"
_UPDATE_STATE = "UPDATE mail SET state = ?, note = ? WHERE number = ?"
_UPDATE_CRASHES = "UPDATE mail SET crashes = ? WHERE number = ?"
_DELETE = ("DELETE FROM mail WHERE number", "DELETE FROM recipient WHERE mail")

Row = tuple[Any, ...]
New = tuple[Row, list[Row]]
"""A mail as it is inserted: its row, and those of its recipients."""


class SchemaError(Exception):
    """The spool was written by a version of multid that is newer than this one."""


def prepare(connection: sqlite3.Connection) -> None:
    """Create what is missing; SchemaError if the tables are not ours to read."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SchemaError(f"the spool's version is {version}, this multid knows up to {VERSION}")
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


def new_mail(mail: QueuedMail) -> New:
    """Return the rows of a mail that enters the spool."""
    envelope = mail.envelope
    number = queue_number(envelope.id)
    row = (
        number,
        mail.state,
        mail.note,
        mail.crashes,
        envelope.sender,
        envelope.size,
        envelope.received_at,
        envelope.body,
        envelope.smtputf8,
        envelope.ret,
        envelope.envid,
        envelope.origin,
        envelope.peer,
        envelope.helo,
        envelope.auth_user,
        envelope.tls,
        mail.content.data,
    )
    recipients = [
        (number, place, recipient.address, ",".join(recipient.notify), recipient.orcpt, *_delivery(delivery))
        for place, (recipient, delivery) in enumerate(zip(envelope.recipients, mail.deliveries, strict=True))
    ]
    return row, recipients


def insert(connection: sqlite3.Connection, mails: Sequence[New]) -> None:
    """Insert mails, many rows a statement: each execution gives other threads the interpreter, and waits to have it."""
    _insert(connection, _INSERT_MAIL, [row for row, _ in mails])
    _insert(connection, _INSERT_RECIPIENT, [row for _, rows in mails for row in rows])


def _insert(connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        places = f"({', '.join('?' * len(some[0]))})"
        connection.execute(statement + ", ".join([places] * len(some)), [value for row in some for value in row])


def update(connection: sqlite3.Connection, change: Update) -> None:
    """Execute a change of one mail, but for its reports and its deletion."""
    number = queue_number(change.id)
    if change.deliveries:
        rows = [(*_delivery(delivery), number, place) for place, delivery in change.deliveries.items()]
        connection.executemany(_UPDATE_RECIPIENT, rows)
    if change.due is not None:
        connection.execute(_UPDATE_DUE, (change.due, number))
    if change.state is not None:
        connection.execute(_UPDATE_STATE, (change.state, change.note, number))
    if change.crashes is not None:
        connection.execute(_UPDATE_CRASHES, (change.crashes, number))


def delete(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete mails, whether they are there or not."""
    for start in range(0, len(numbers), _ROWS):
        some = numbers[start : start + _ROWS]
        for statement in _DELETE:
            connection.execute(f"{statement} IN ({', '.join('?' * len(some))})", some)


def scan(connection: sqlite3.Connection) -> list[tuple[str, MailState, float]]:
    """Return id, state and earliest due time (0 if no recipient is open) of every mail, oldest first."""
    (text,) = connection.execute(_SCAN).fetchone()
    return [(queue_id(number), MailState(state), float(due)) for number, state, due in sorted(json.loads(text))]


def numbers_in_files(connection: sqlite3.Connection) -> set[int]:
    """Return which mails have their content in a file."""
    return {number for (number,) in connection.execute("SELECT number FROM mail WHERE content IS NULL")}


def load(connection: sqlite3.Connection, id_: str, path: str) -> QueuedMail | None:
    """Return a mail with its content, which lies in the file `path` if it is not in the row; None if there is none."""
    row = connection.execute(f"SELECT {_MAIL}, content FROM mail WHERE number = ?", (queue_number(id_),)).fetchone()
    if row is None:
        return None
    recipients = connection.execute(
        f"SELECT {_RECIPIENT} FROM recipient WHERE mail = ? ORDER BY place", (row[0],)
    ).fetchall()
    content = row[-1]
    return _mail(row[:-1], recipients, Content(row[5], content, path if content is None else None))


def select(connection: sqlite3.Connection, query: Query) -> list[QueuedMail]:
    """Return the mails that a query names, without their content, oldest first."""
    conditions = ["number > ?"]
    values: list[int | str] = [queue_number(query.after) if query.after else -1]
    if query.ids:
        conditions.append(f"number IN ({', '.join(str(queue_number(id_)) for id_ in query.ids)})")
    if query.state is not None:
        conditions.append(f"state = '{query.state}'")
    for column, text, condition in (
        ("sender", query.sender, "{}"),
        ("address", query.recipient, "EXISTS (SELECT * FROM recipient WHERE mail = number AND {})"),
    ):
        if text is not None:
            fits, value = _fits(connection, column, Pattern(text))
            conditions.append(condition.format(fits))
            values.append(value)
    (page,) = connection.execute(_PAGE.format(" AND ".join(conditions), query.limit), values).fetchone()
    return [
        _mail(_exact(row), [_exact(recipient) for recipient in sorted(recipients)], Content(row[5]))
        for *row, recipients in sorted(json.loads(page))
    ]


def _fits(connection: sqlite3.Connection, column: str, pattern: Pattern) -> tuple[str, str]:
    """Return the condition that an address fits a pattern, and its value; SQLite compares what is ASCII by itself."""
    if pattern.text == "<>":
        return f"{column} = ?", ""
    connection.create_function(f"{column}_fits", 1, pattern.matches, deterministic=True)
    is_ascii = f"length({column}) = length(CAST({column} AS BLOB))"
    like = re.sub(r"([\\%_])", r"\\\1", pattern.text.casefold()).replace("*", "%")
    return (
        f"{column} > '' AND CASE WHEN {is_ascii} THEN {column} LIKE ? ESCAPE '\\' ELSE {column}_fits({column}) END",
        like,
    )


def _exact(row: list[Any]) -> Row:
    """Return a row of either table that came as JSON, with its time as the number that it is."""
    return (*row[:6], float(row[6]), *row[7:])


def _delivery(delivery: Delivery) -> Row:
    reply = delivery.reply
    code, enhanced, text = (reply.code, reply.enhanced, reply.text) if reply else (None, None, None)
    return delivery.state, delivery.due, delivery.attempts, code, enhanced, text, delivery.remote, delivery.warned


def _mail(row: Row, recipients: list[Row], content: Content) -> QueuedMail:
    number, state, note, crashes, sender, size, received_at, body, smtputf8, *rest = row
    ret, envid, origin, peer, helo, auth_user, tls = rest
    envelope = Envelope(
        queue_id(number),
        sender,
        tuple(Recipient(row[2], frozenset(row[3].split(",") if row[3] else ()), row[4]) for row in recipients),
        size,
        received_at,
        body,
        bool(smtputf8),
        ret,
        envid,
        origin,
        peer,
        helo,
        auth_user,
        tls,
    )
    deliveries = tuple(_read_delivery(row[5:]) for row in recipients)
    return QueuedMail(envelope, deliveries, content, MailState(state), note, crashes)


def _read_delivery(row: Row) -> Delivery:
    state, due, attempts, code, enhanced, text, remote, warned = row
    reply = None if code is None else Reply(code, cast("str", enhanced), cast("str", text))
    return Delivery(DeliveryState(state), due, attempts, reply, remote, bool(warned))
