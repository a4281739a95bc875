"""`multid sendmail`: what programs call to send a mail, as /usr/sbin/sendmail has always been.

The mail is put into the daemon's drop directory, whether the daemon runs or not, and is durable when the command ends
with 0; the daemon takes it from there. Exit codes are those of sysexits.h: 64 usage, 65 an address or mail that is
none, 75 try again later, 77 not allowed, 78 no configuration.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from dataclasses import dataclass, field
from email.utils import formataddr, getaddresses
from pathlib import Path

import click

from multid.cli._client import fail
from multid.config.find import find_config, mail_spool
from multid.config.problems import ConfigErrors
from multid.mail.address import AddressError, parse_mailbox
from multid.mail.drop import drop_directory, leave, make_drop_directory
from multid.mail.headers import fields_end, parse_fields

_WITH_VALUE = "fFrNRVBhLOoXpC"


@dataclass
class Options:
    """What the arguments say."""

    sender: str | None = None
    name: str = ""
    recipients: list[str] = field(default_factory=list)
    from_header: bool = False
    ignore_dots: bool = False
    action: str = "m"
    config: str | None = None


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTION]... [RECIPIENT]...")
def command(arguments: tuple[str, ...]) -> None:
    """Send the mail on standard input, as sendmail(1) does.

    -t: recipients from To, Cc and Bcc; -i, -oi: a dot alone does not end the mail; -f, -r ADDRESS: the sender;
    -F NAME: the sender's full name; -bp: list the queue; -q: try the queue now; --config FILE. Other options of
    sendmail are taken and change nothing.
    """
    options = parse(list(arguments))
    if options.action in {"p", "q"}:
        _queue(["list"] if options.action == "p" else ["retry", "--all"], options.config)
    if options.action not in {"m", "d", "i"}:
        fail(f"-b{options.action} is not supported", os.EX_USAGE)
    content = read(sys.stdin.buffer.read(), ignore_dots=options.ignore_dots)
    sender, recipients, content = prepare(options, content)
    directory = _directory(options.config)
    try:
        make_drop_directory(directory)
        leave(directory, sender, recipients, content)
    except OSError as error:
        fail(f"the mail cannot be kept: {error}", os.EX_TEMPFAIL)


def parse(arguments: list[str]) -> Options:
    """Read the arguments of sendmail(1): one letter and its value, together or apart."""
    options = Options()
    while arguments:
        word = arguments.pop(0)
        if word == "--":
            options.recipients += arguments
            break
        if word == "--config":
            options.config = _value("", arguments, word)
        elif not word.startswith("-") or word == "-":
            options.recipients.append(word)
        else:
            _option(options, word[1], word[2:], arguments)
    return options


def _option(options: Options, letter: str, rest: str, arguments: list[str]) -> None:
    value = _value(rest, arguments, f"-{letter}") if letter in _WITH_VALUE else rest
    if letter in "fr":
        options.sender = value
    elif letter == "F":
        options.name = value
    elif letter == "b":
        options.action = rest[:1]
    elif letter == "q":
        options.action = "q"
    elif letter == "i" or (letter == "o" and value == "i"):
        options.ignore_dots = True
    elif letter == "t":
        options.from_header = True
        if "i" in rest:  # -ti
            options.ignore_dots = True


def _value(rest: str, arguments: list[str], option: str) -> str:
    if not rest and not arguments:
        fail(f"{option} needs a value", os.EX_USAGE)
    return rest or arguments.pop(0)


def read(data: bytes, *, ignore_dots: bool) -> bytes:
    """Return what was given as a mail: up to a dot alone unless those are ignored, lines ended by CRLF."""
    lines = re.split(rb"\r?\n|\r", data.removesuffix(b"\n").removesuffix(b"\r"))
    if not ignore_dots and b"." in lines:
        lines = lines[: lines.index(b".")]
    if lines and lines[0].startswith(b"From "):  # the first line of a mailbox
        del lines[0]
    return b"".join(line + b"\r\n" for line in lines)


def prepare(options: Options, content: bytes) -> tuple[str, list[str], bytes]:
    """Return sender, recipients and content: Bcc is gone, From is there if a name was given."""
    end = fields_end(content)  # where the first line begins that is no field, whether it is blank or not
    fields = [(name.lower(), b"".join((name, colon, value))) for name, colon, value in parse_fields(content[:end])]
    body = content[end:].removeprefix(b"\r\n")
    named = [text for name, text in fields if name in {b"to", b"cc", b"bcc"}] if options.from_header else []
    recipients = [*options.recipients, *_addresses(named)]
    if not recipients:
        fail("no recipients", os.EX_USAGE)
    sender = "" if options.sender in {"", "<>"} else (options.sender or _me())
    kept = [text for name, text in fields if name not in {b"bcc", b"resent-bcc"}]
    if options.name and b"from" not in dict(fields):
        kept.append(f"From: {formataddr((options.name, sender))}\r\n".encode())
    unique = list(dict.fromkeys(_checked(recipient) for recipient in recipients))
    return (_checked(sender) if sender else ""), unique, b"".join(kept) + b"\r\n" + body


def _me() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container runs as any number
        return str(uid)


def _addresses(fields: list[bytes]) -> list[str]:
    texts = [text.partition(b":")[2].decode("utf-8", "surrogateescape").replace("\r\n", "") for text in fields]
    return [address for _, address in getaddresses(texts) if address]


def _checked(text: str) -> str:
    address = text.strip().removeprefix("<").removesuffix(">")
    try:
        parse_mailbox(address, utf8=True, default_domain="localhost")
    except AddressError as error:
        fail(f"{text!r}: {error}", os.EX_DATAERR)
    return address


def _directory(config: str | None) -> Path:
    try:
        return drop_directory(mail_spool(find_config(config, os.environ, Path())))
    except ConfigErrors as errors:
        fail(str(errors), os.EX_CONFIG)


def _queue(arguments: list[str], config: str | None) -> None:
    from multid.cli.queue import command as queue

    given = ["--config", config] if config else []
    queue.main([*arguments, *given], prog_name="multid queue")
