"""Writes the reference of the configuration and the man pages from the models and the commands themselves.

    python docs/generate.py

Each document is written by hand but for the part between two marks, `begin NAME` and `end NAME`; a test holds these
parts current.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from multid.cli import main
from multid.config.model import ServiceConfig
from multid.config.schema import schema
from multid.config.units import DURATION_PATTERN, RATE_PATTERN, SIZE_PATTERN
from multid.kinds import discover
from multid.service import ServiceKind

HERE = Path(__file__).parent
Schema = Mapping[str, Any]

PATTERNS = {DURATION_PATTERN: "duration", SIZE_PATTERN: "size", RATE_PATTERN: "rate"}
FORMATS = {"path": "path", "ip-network": "network", "endpoint": "address"}


@dataclass(frozen=True)
class Key:
    """One key of the file: where it is, what it takes, what is so without it."""

    name: str
    takes: str
    default: str
    meaning: str


def keys(node: Schema, defs: Mapping[str, Schema], prefix: str = "", whole: Any = None) -> Iterator[Key]:
    """Yield the keys of a mapping, each followed by those below it; `whole` is the default of the mapping itself."""
    for name, value in node.get("properties", {}).items():
        default = whole[name] if isinstance(whole, dict) else value.get("default")
        required = name in node.get("required", ())
        shown = "required" if required else default_text(default, value, defs)
        yield Key(prefix + name, takes(value, defs), shown, value.get("description", ""))
        below = dict(mappings(value))
        for model, suffix in below.items():
            here = f"{prefix}{name}{suffix}"
            if len(below) > 1:
                yield Key(
                    here, f"mapping with {defs[model]['required'][0]}", "", defs[model]["description"].rstrip(".")
                )
            yield from keys(defs[model], defs, f"{here}.", default)


def mappings(value: Schema) -> Iterator[tuple[str, str]]:
    """Yield the names of the mappings that a value may be, and `[]` where it is a list of them."""
    if "$ref" in value:
        yield value["$ref"].rpartition("/")[2], ""
    if "items" in value:
        yield from ((name, f"[]{suffix}") for name, suffix in mappings(value["items"]))
    for choice in value.get("anyOf", value.get("oneOf", ())):
        yield from mappings(choice)


def takes(value: Schema, defs: Mapping[str, Schema]) -> str:
    """Return what a value may be, in words."""
    choices = [takes(choice, defs) for choice in value.get("anyOf", value.get("oneOf", ()))]
    choices = [choice for choice in dict.fromkeys(choices) if choice != "null"]
    if choices:
        return (" | " if any(" | " in choice for choice in choices) else " or ").join(choices)
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    if "const" in value:
        return str(value["const"])
    if "$ref" in value:
        return "mapping"
    if value.get("type") == "array":
        return f"list of {plural(takes(value['items'], defs))}"
    if value.get("pattern") in PATTERNS:
        return PATTERNS[value["pattern"]]
    if value.get("format") in FORMATS:
        return FORMATS[value["format"]]
    words = {
        "string": "text",
        "boolean": "true | false",
        "integer": "whole number",
        "number": "number",
        "object": "mapping",
    }
    return words.get(str(value.get("type")), str(value.get("type"))) + bounds(value)


def plural(word: str) -> str:
    """Return the plural of what `takes` says."""
    return f"({word})" if " " in word else {"address": "addresses"}.get(word, f"{word}s")


def bounds(value: Schema) -> str:
    """Return the bounds of a number, in words."""
    low, high = value.get("minimum"), value.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else f", at most {high}" if high is not None else ""


def default_text(default: Any, value: Schema, defs: Mapping[str, Schema]) -> str:
    """Return a default as the file would write it; nothing where there is none, or where the keys below tell it."""
    if default is None or default in ({}, [], "") or isinstance(default, dict):
        return ""
    if isinstance(default, list) and default and isinstance(default[0], dict):
        properties = defs[next(mappings(value))[0]]["properties"]
        told = [{k: v for k, v in item.items() if v != properties[k].get("default")} for item in default]
        return ", ".join(flow(item) for item in told)
    return flow(default)


def flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    written: str = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True)
    return written.removesuffix("\n").removesuffix("\n...").strip()


def file_keys() -> list[Key]:
    """Return the keys of the file besides the services."""
    whole = schema({})
    return [key for key in keys(whole, whole["$defs"]) if not key.name.startswith("services")]


def common_keys() -> list[Key]:
    """Return the keys of every service."""
    whole = schema({"any": ServiceConfig})
    return list(keys(whole["$defs"][ServiceConfig.__name__], whole["$defs"]))


def own_keys(kind: ServiceKind) -> list[Key]:
    """Return the keys that a kind has besides, or otherwise than, every service."""
    whole = schema({kind.name: kind.config})
    common = common_keys()
    every = list(keys(whole["$defs"][kind.config.__name__], whole["$defs"]))
    return [key for key in every if key not in common]


def markdown(kinds: Mapping[str, ServiceKind]) -> str:
    """Return the tables of docs/configuration.md."""
    parts = ["## Keys of the file", table(file_keys()), "## Keys of every service", table(common_keys())]
    for name, kind in kinds.items():
        own = own_keys(kind)
        parts += [f"## `{name}`", f"{kind.summary[0].upper()}{kind.summary[1:]}."]
        parts.append(table(own) if own else "It has the keys of every service, and none besides.")
    return "\n\n".join(parts)


def table(rows: list[Key]) -> str:
    """Return keys as a Markdown table."""
    lines = ["| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
    for key in rows:
        default = key.default if key.default in {"", "required"} else f"`{key.default}`"
        lines.append(f"| `{key.name}` | {cell(key.takes)} | {cell(default)} | {cell(key.meaning)} |")
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return a text that is no markup in a cell of a table, but for its backquotes."""
    parts = re.split("(`[^`]*`)", text)
    return "".join(p.replace("|", "\\|") if p[:1] == "`" else re.sub(r"([|<*\[])", r"\\\1", p) for p in parts)


def troff(kinds: Mapping[str, ServiceKind]) -> str:
    """Return the keys as sections of multid.yaml(5)."""
    parts = [".SH KEYS OF THE FILE", *map(paragraph, file_keys())]
    parts += [".SH KEYS OF EVERY SERVICE", *map(paragraph, common_keys()), ".SH SERVICES"]
    for name, kind in kinds.items():
        parts += [f".SS {name}", quoted(f"{kind.summary[0].upper()}{kind.summary[1:]}.")]
        parts += map(paragraph, own_keys(kind))
    return "\n".join(parts)


def paragraph(key: Key) -> str:
    """Return a key as a tagged paragraph."""
    default = "; required" if key.default == "required" else f"; default {key.default}" if key.default else ""
    return f".TP\n\\fB{quoted(key.name)}\\fR ({quoted(key.takes + default)})\n{quoted(key.meaning)}."


def commands() -> str:
    """Return the subcommands as sections of multid(8)."""
    context = click.Context(main, info_name="multid")
    parts = []
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None  # noqa: S101 - it was listed
        parts += list(command_sections(command, click.Context(command, info_name=name, parent=context)))
    return "\n".join(parts)


def command_sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the section of a command, and of each below it."""
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS \\fB{quoted(context.command_path)}\\fR {quoted(usage)}"
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    yield "\n.PP\n".join(quoted(" ".join(paragraph.split())) for paragraph in paragraphs)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record and "--help" not in record[0]:
            yield f".TP\n\\fB{quoted(record[0])}\\fR\n{quoted(' '.join(record[1].split()))}"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None  # noqa: S101 - it was listed
            yield from command_sections(below, click.Context(below, info_name=name, parent=context))


def quoted(text: str) -> str:
    """Return a text that is no request and no escape of troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def sections() -> dict[tuple[Path, str], str]:
    """Return each generated part of a document, by its file and name."""
    kinds = discover()
    return {
        (HERE / "configuration.md", "keys"): markdown(kinds),
        (HERE / "man" / "multid.yaml.5", "keys"): troff(kinds),
        (HERE / "man" / "multid.8", "commands"): commands(),
    }


def replaced(document: str, name: str, text: str) -> str:
    """Return a document with the part between its two marks made anew; ValueError where it has no marks."""
    marks = re.compile(rf"(?ms)^(\S+ begin {name}\b[^\n]*\n).*?^(\S+ end {name}\b)")
    new, count = marks.subn(lambda match: f"{match[1]}{text}\n{match[2]}", document)
    if count != 1:
        raise ValueError(f"the marks of {name!r} are there {count} times")
    return new


if __name__ == "__main__":
    for (path, name), text in sections().items():
        path.write_text(replaced(path.read_text("utf-8"), name, text), "utf-8")
