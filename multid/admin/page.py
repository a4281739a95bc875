"""The status page, drawn here and nowhere else: `document` is the whole, `content` the part that changes.

Everything shown is escaped by twisted.web.template, whatever a service is called or a peer sends. No address beyond
this server is named, no script is needed to read it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from twisted.web.template import Tag, flattenString, tags

from multid.admin.history import SPAN, STEP
from multid.admin.status import status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multid.admin.service import Admin
    from multid.net.service import NetworkService

EVENTS = 40
"""How many of the last events are shown."""
MAILS = 20
"""How many of the mails in a queue are shown."""
_WIDTH, _HEIGHT = 130, 26
_NUMBERS = {"Open", "In all", "Received", "Sent", "Refused", "Errors", "Age", "Tries"}
"""The titles of columns that hold numbers."""


async def document(admin: Admin) -> bytes:
    """Return the page."""
    main = await _main(admin)
    head = tags.head(
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.meta(name="color-scheme", content="light dark"),
        tags.title("multid"),
        tags.link(rel="icon", href="/icon.svg"),
        tags.link(rel="stylesheet", href="/status.css"),
        tags.script(src="/status.js", defer="defer"),
    )
    return b"<!DOCTYPE html>\n" + _flat(tags.html(head, tags.body(main), lang="en")) + b"\n"


async def content(admin: Admin) -> bytes:
    """Return what is drawn anew while somebody looks on."""
    return _flat(await _main(admin))


def _flat(tag: Tag) -> bytes:
    flat: list[bytes] = []
    flattenString(None, tag).addCallback(flat.append)  # nothing here waits for anything
    return flat[0]


async def _main(admin: Admin) -> Tag:
    queues = [await _queue(service) for service in admin.daemon if "queue" in service.details()]
    now = status(admin.daemon)
    return Tag("main")(
        _header(now),
        _services(now["services"], admin),
        *queues,
        _events(admin.daemon.logbook.recent),
    )


def _header(now: dict[str, Any]) -> Tag:
    troubles = [*now["faults"], *(f"last reload refused: {problem}" for problem in now["refused"])]
    return tags.header(
        tags.h1("multid"),
        tags.p(
            f"{now['version']} · {now['state']} for {duration(now['state_for'])} · configuration {now['generation']}"
            f" of {now['loaded']} · {now['config']} · pid {now['pid']}"
        ),
        *(tags.p(trouble, class_="trouble") for trouble in troubles),
    )


def _services(services: list[dict[str, Any]], admin: Admin) -> Tag:
    titles = ("Service", "State", "Listens on", "Open", "In all", "Received", "Sent", "Refused", "Errors", "Last hour")
    return tags.section(
        tags.h2("Services"),
        tags.div(
            tags.table(
                tags.thead(tags.tr(*(_title(title) for title in titles))),
                tags.tbody(*(_service(service, admin) for service in services)),
            ),
            class_="wide",
        ),
    )


def _service(service: dict[str, Any], admin: Admin) -> Tag:
    counters = service["counters"]
    name = tags.th(service["name"], scope="row")
    if service["type"] != service["name"]:
        name(" ", tags.small(service["type"]))
    refused = sum(counters.get("rejected", {}).values()) + sum(counters.get("dropped", {}).values())
    numbers = {
        "Open": count(counters.get("connections", 0)),
        "In all": count(counters.get("connections_total", 0) + counters.get("datagrams", 0)),
        "Received": size(counters.get("received_bytes", 0)),
        "Sent": size(counters.get("sent_bytes", 0)),
        "Refused": count(refused),
        "Errors": count(counters.get("errors", 0)),
    }
    return tags.tr(
        name,
        tags.td(tags.span(service["state"], class_=f"state {service['state']}")),
        tags.td(*_addresses(service["listen"]), *_notes(service["details"])),
        *(_number(title, value) for title, value in numbers.items()),
        tags.td(_rates(service["name"], admin)),
    )


def _notes(details: dict[str, Any]) -> Iterable[Tag]:
    """What the kind wants somebody to know."""
    return (tags.div(note, class_="note") for note in details.get("notes", []))


def _addresses(listen: list[dict[str, str]]) -> Iterable[Tag]:
    for one in listen:
        yield tags.div(one["address"], *([tags.div(one["problem"], class_="trouble")] if one["problem"] else []))


def _rates(name: str, admin: Admin) -> Tag | str:
    """Draw the rate of the last hour, the newest at the right."""
    rates = admin.history.rates(name)
    service = admin.daemon.namedServices.get(name)
    if service is None or not rates:
        return ""
    most = max(rates)
    what, _ = service.activity()
    label = f"{rate(rates[-1])} {what}/s"
    step = _WIDTH / (SPAN / STEP - 1)
    left = _WIDTH - step * (len(rates) - 1)
    points = [
        f"{left + step * index:.1f},{_HEIGHT - 1 - (_HEIGHT - 2) * value / (most or 1):.1f}"
        for index, value in enumerate(rates)
    ]
    line = Tag("polyline")(points=" ".join(points))
    area = Tag("polygon")(points=f"{left:.1f},{_HEIGHT} {' '.join(points)} {_WIDTH},{_HEIGHT}")
    drawing = Tag("svg", children=[area, line])(viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")
    drawing(Tag("title")(f"{label}, at most {rate(most)}/s"))
    return tags.div(drawing, tags.small(label), class_="rates")


async def _queue(service: NetworkService) -> Tag:
    states = service.details()["queue"]
    titles = ("Id", "Age", "Tries", "State", "From", "To", "Reason")
    mails = (await service.readings()["queue"]({"limit": MAILS}))["mails"]
    table = tags.table(
        tags.thead(tags.tr(*(_title(title) for title in titles))),
        tags.tbody(*(_mail(mail) for mail in mails)),
    )
    return tags.section(
        tags.h2(f"Mail queue of {service.name}"),
        tags.p(", ".join(f"{number} {state}" for state, number in states.items() if number) or "empty"),
        *([tags.div(table, class_="wide")] if mails else []),
    )


def _mail(mail: dict[str, Any]) -> Tag:
    recipients = mail["recipients"]
    reasons = dict.fromkeys(filter(None, [mail["note"], *(one["reply"] for one in recipients)]))
    return tags.tr(
        tags.th(mail["id"], scope="row"),
        _number("Age", duration(time.time() - mail["received_at"])),
        _number("Tries", str(max((one["attempts"] for one in recipients), default=0))),
        tags.td(str(mail["state"])),
        tags.td(mail["sender"] or "<>"),
        tags.td(", ".join(one["address"] for one in recipients)),
        tags.td("; ".join(reasons)),
    )


def _title(title: str) -> Tag:
    return tags.th(title, scope="col", **({"class": "number"} if title in _NUMBERS else {}))


def _number(title: str, value: str) -> Tag:
    return tags.td(value, class_="number", **{"data-title": title})


def _events(recent: Iterable[dict[str, Any]]) -> Tag:
    events = list(recent)[-EVENTS:][::-1]
    return tags.section(
        tags.h2("Last events"),
        tags.ol(
            *(
                tags.li(
                    tags.time(event["time"][:19].replace("T", " ")),
                    " ",
                    tags.span(event["level"], class_=f"level {event['level']}"),
                    " ",
                    event["message"],
                )
                for event in events
            ),
            class_="events",
        ),
    )


def duration(seconds: float) -> str:
    """Return a duration in its two greatest units: `3 d 4 h`."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or parts:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def count(number: int) -> str:
    """Return a number with its thousands apart, from a million on in short."""
    if number < 1_000_000:
        return f"{number:,}".replace(",", "\u202f")
    return f"{number / 1e6:.2f} M" if number < 1e9 else f"{number / 1e9:.2f} G"


def size(octets: int) -> str:
    """Return a number of octets in the unit that suits it."""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def rate(value: float) -> str:
    """Return a rate with as many digits as say something."""
    return f"{value:.2g}" if value < 10 else count(round(value))
