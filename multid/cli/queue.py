"""`multid queue`: the mail queue, with Postfix's verbs."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import click

from multid.cli._client import fail, with_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from multid.cli._client import Daemon

_STATES = ("ready", "held", "captured", "quarantined", "dead")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a mail must not do to the terminal of whoever looks at it."""
_DONE = {"retry": "tried now", "hold": "held", "release": "released", "delete": "deleted"}


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--all", "everything", is_flag=True, help="Every mail."),
        click.option("--state", type=click.Choice(_STATES), help="Mails in this state."),
        click.option("--recipient", metavar="PATTERN", help="Mails to such a recipient, such as '*@example.org'."),
        click.option("--sender", metavar="PATTERN", help="Mails of such a sender; '<>' is the null sender."),
        click.option("--service", metavar="NAME", help="The smtp service; by default every one."),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Show the mail queue, and have mails tried, held, released or deleted."""


@command.command("list")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_filters
@with_daemon
def list_(daemon: Daemon, ids: tuple[str, ...], service: str | None, *, as_json: bool, **filters: Any) -> None:
    """List mails: those of the IDs, those that fit all options, or every one.

    With --json one object a line is printed.
    """
    filters.pop("everything")
    count = size = 0
    for mail in _mails(daemon, service, {"ids": ",".join(ids), **filters}):
        count, size = count + 1, size + mail["size"]
        click.echo(json.dumps(mail) if as_json else _paragraph(mail))
    if not as_json:
        click.echo(
            f"{_mails_in_words(count)}, {size / 1024:.0f} KiB" if count else "The mail queue is empty, or nothing fits."
        )


@command.command()
@click.argument("id")
@click.option("--content", is_flag=True, help="The whole mail, not only its header.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--service", metavar="NAME", help="The smtp service it is in.")
@with_daemon
def show(daemon: Daemon, id: str, service: str | None, *, content: bool, as_json: bool) -> None:  # noqa: A002
    """Show the mail ID: where it came from, what has become of each recipient, and its header."""
    for name in _services(daemon, service):
        if not daemon.get("services", name, "queue", ids=id)["mails"]:
            continue
        mail = daemon.get("services", name, "mail", id=id, **({"content": "1"} if content else {}))
        text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", mail["text"].replace("\r\n", "\n"))
        click.echo(json.dumps(mail, indent=2) if as_json else f"{_paragraph(mail)}\n{_origin(mail)}\n\n{text}")
        return
    fail(f"no mail {id} in the queue", 1)


def _verb(name: str, text: str) -> None:
    @command.command(name, help=text)
    @click.argument("ids", nargs=-1, metavar="[ID]...")
    @_filters
    @with_daemon
    def verb(
        daemon: Daemon, ids: tuple[str, ...], service: str | None, *, as_json: bool, everything: bool, **filters: Any
    ) -> None:
        if not (ids or everything or any(filters.values())):
            raise click.UsageError("name mails by ID or options, or say --all")
        done = 0
        for one in _services(daemon, service):
            names = ids and [mail["id"] for mail in daemon.get("services", one, "queue", ids=",".join(ids))["mails"]]
            if ids and not names:
                continue
            body = {"ids": list(names), "all": everything, **filters}
            done += daemon.post("services", one, name, body=body)["done"]
        if ids and not done:
            fail("none of these mails is in the queue, or there was nothing to do", 1)
        click.echo(json.dumps({"done": done}) if as_json else f"{_mails_in_words(done)} {_DONE[name]}")


_verb("retry", "Try mails now, whatever their time, and the servers that are down.")
_verb("hold", "Try mails no more until they are released.")
_verb("release", "Try mails again that were held, captured, quarantined or dead.")
_verb("delete", "Take mails out of the queue; nobody is told.")


def _services(daemon: Daemon, service: str | None) -> list[str]:
    names = [one["name"] for one in daemon.get("status.json")["services"] if one["type"] == "smtp"]
    names = [name for name in names if service in {None, name}]
    if not names:
        fail(f"no smtp service {service!r} runs" if service else "no smtp service runs", 1)
    return names


def _mails_in_words(count: int) -> str:
    return f"{count} mail" if count == 1 else f"{count} mails"


def _mails(daemon: Daemon, service: str | None, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    query = {name: value for name, value in filters.items() if value}
    for name in _services(daemon, service):
        page = daemon.get("services", name, "queue", **query)
        yield from page["mails"]
        while page["next"]:
            page = daemon.get("services", name, "queue", **query, after=page["next"])
            yield from page["mails"]


def _paragraph(mail: dict[str, Any]) -> str:
    came = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(mail["received_at"]))
    lines = [f"{mail['id']}  {mail['state']:<11} {mail['size']:>9}  {came}  <{mail['sender']}>"]
    if mail["note"]:
        lines.append(f"      ({mail['note']})")
    for recipient in mail["recipients"]:
        lines.append(f"      <{recipient['address']}>{_fate(recipient)}")
    return "\n".join(lines)


def _fate(recipient: dict[str, Any]) -> str:
    state = "" if recipient["state"] == "open" else f" {recipient['state']}"
    if not recipient["reply"]:
        return state
    tries = f", {recipient['attempts']} tries" if recipient["attempts"] > 1 else ""
    return f"{state}: {recipient['reply']} [{recipient['remote'] or 'no server'}{tries}]"


def _origin(mail: dict[str, Any]) -> str:
    known = ("origin", "peer", "helo", "auth_user", "tls")
    return "      " + ", ".join(f"{name.replace('_', ' ')} {mail[name]}" for name in known if mail[name])
