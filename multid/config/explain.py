"""What pydantic found wrong, in the words of a user of the file, each at its place.

A pydantic location names fields, indices, and between them the branches of unions that were tried. Here the branches
are taken out again: of a union only the branch that fits best speaks. A key that is missing is a mistake of the
mapping it is missing from; an unknown key is one at itself, with the nearest key that the mapping may have.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from multid.config import units
from multid.config.document import Document, Keys
from multid.config.problems import Place, Problem, did_you_mean, nearest, visible

Part = str | int

_MUST_BE = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a number",
    "string": "must be a text",
    "is": "must be a text",  # an instance of a class, which is made of a text
    "path": "must be a text",
    "dict": "must be a mapping of keys and values",
    "model": "must be a mapping of keys and values",
    "list": "must be a list",
    "tuple": "must be a list",
    "set": "must be a list",
}
_SHAPES = {"type", "parsing", "parsing_size", "from_float", "number", "unicode", "instance_of"}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "value"),
    "too_long": ("max_length", "at most", "value"),
    "string_too_short": ("min_length", "at least", "character"),
    "string_too_long": ("max_length", "at most", "character"),
}


def explain(error: ValidationError, model: type[BaseModel], document: Document, base: Keys = ()) -> list[Problem]:
    """Return the problems of the part of a document below `base`, which was to become a `model`."""
    data = document.data
    for key in base:
        data = data[key]
    errors = [_Error(details, data) for details in error.errors(include_url=False)]
    found = list(_best_branches([one for one in errors if not _is_only_of_items(one, errors)]))
    unknown = [one.path for one in found if one.type == "extra_forbidden"]
    misspelt = {(path[:-1], nearest(str(path[-1]), fields(model, path[:-1]))) for path in unknown}
    return [_problem(one, model, document, base) for one in found if (one.path, one.missing) not in misspelt]


class _Error:
    """One of pydantic's errors; `path` leads to the data, `branches` are the parts of `loc` that do not."""

    def __init__(self, details: ErrorDetails, data: Any) -> None:
        self.type, self.loc = details["type"], details["loc"]
        self.message, self.context = details["msg"], details.get("ctx", {})
        self.path, self.branches = _way(self.loc, data)
        for key in self.path:
            data = data[key]
        self.given = data
        self.others: list[_Error] = []  # of the other branches, where none fits
        self.missing = self.loc[-1] if self.type == "missing" else None


def _is_only_of_items(error: _Error, errors: list[_Error]) -> bool:
    """Whether a list is too short only for the items that are no good, of which others speak."""
    items = (other.loc for other in errors if len(other.loc) > len(error.loc))
    return error.type == "too_short" and any(loc[: len(error.loc)] == error.loc for loc in items)


def _way(loc: Sequence[Part], data: Any, path: Keys = ()) -> tuple[Keys, tuple[tuple[Keys, Part], ...]]:
    """Part a location into the path through the data, as long as it can be, and the branches left over."""
    if not loc:
        return path, ()
    part, rest = loc[0], loc[1:]
    entries: Any = dict(enumerate(data)) if isinstance(data, list) else data
    as_key = None
    if isinstance(entries, dict) and part in entries:
        as_key = _way(rest, entries[part], (*path, part))
        if not as_key[1]:
            return as_key
    further, branches = _way(rest, data, path)
    as_branch = further, ((path, part), *branches)
    return max(as_key or as_branch, as_branch, key=lambda way: len(way[0]))


def _best_branches(errors: list[_Error]) -> Iterator[_Error]:
    """Drop the errors of those branches of each union that fit the data less well than another."""
    while errors:
        first = errors[0]
        union = _union(first)
        if union is None:
            yield errors.pop(0)
            continue
        same = [error for error in errors if _union(error) == union]
        errors = [error for error in errors if _union(error) != union]
        branches: dict[Part, list[_Error]] = {}
        for error in same:
            (_, tag), *error_branches = error.branches
            error.branches = tuple(error_branches)
            branches.setdefault(tag, []).append(error)
        best = min(branches.values(), key=lambda branch: (_is_misfit(branch, union), _strangeness(branch, union)))
        if _is_misfit(best, union):
            best[0].others = [error for branch in branches.values() for error in branch if branch is not best]
        yield from _best_branches(best)


def _union(error: _Error) -> Keys | None:
    """Return the path of the outermost union that an error passes through."""
    if error.missing and len(error.branches) == 1:
        return None  # what is left over is the missing key
    return error.branches[0][0] if error.branches else None


def _is_misfit(errors: list[_Error], union: Keys) -> bool:
    """Whether the value is of another shape than a branch of its union: not only out of bounds, or wrong inside."""
    return any(error.path == union and error.type not in _BOUNDS and not error.missing for error in errors)


def _strangeness(errors: list[_Error], union: Keys) -> tuple[int, int]:
    """Say how unlike a branch of mappings the keys are, a misspelt one counted once; and how many errors it has."""
    unknown = [str(e.path[-1]) for e in errors if e.type == "extra_forbidden" and e.path[:-1] == union]
    missing = [str(e.missing) for e in errors if e.missing and e.path == union]
    misspelt = sum(bool(nearest(word, missing)) for word in unknown)
    return len(unknown) + len(missing) - misspelt, len(errors)


def _problem(error: _Error, model: type[BaseModel], document: Document, base: Keys) -> Problem:
    path = base + error.path
    dotted = visible(".".join(str(key)[:60] for key in path))
    if error.type == "extra_forbidden":
        hint = did_you_mean(str(path[-1]), fields(model, error.path[:-1]))
        return Problem(document.keys.get(path, document.place(path)), f"unknown key {dotted!r}", hint)
    place = document.place(path)
    if error.missing:
        subject = f"{dotted}: " if dotted else ""
        return Problem(document.keys.get(path, place), f"{subject}needs the key {error.missing!r}")
    message, hint = _told(error)
    if error.type.startswith("model") and isinstance(error.given, str):
        hint = _blank_missing(error.given, fields(model, error.path))
    if getattr(error.context.get("error"), "private", False):
        place = Place(place.file, place.line, place.column)
    return Problem(place, f"{dotted}: {message}" if dotted else message, hint)


def _told(error: _Error) -> tuple[str, str]:
    """Return the message, of all branches where the value fits none of them, and the hint."""
    tried = [error, *error.others]
    message, *further = by_demand = {_demand(one): one for one in tried}
    for demand in further:
        message += f", or {demand.removeprefix('must be ')}" if demand.startswith("must be ") else f"; or {demand}"
    *_, last = by_demand.values()
    return message + _not(last), next((hint for one in tried if (hint := _hint(one))), "")


def _demand(error: _Error) -> str:
    """Say what the value must be."""
    if error.type in _BOUNDS:
        key, words = _BOUNDS[error.type]
        return f"must be {words} {_bound(error.context[key], error.given)}"
    if error.type in _LENGTHS:
        key, words, noun = _LENGTHS[error.type]
        number = error.context[key]
        return f"must have {words} {number} {noun}{'s' * (number != 1)}"
    if error.type in {"literal_error", "enum"}:
        return f"must be {error.context['expected']}"
    if error.type == "string_pattern_mismatch":
        return f"must match {error.context['pattern']}"
    if error.type in {"value_error", "assertion_error"}:
        return str(error.context["error"])
    kind, _, reason = error.type.partition("_")
    if kind in _MUST_BE and reason in _SHAPES:
        return "needs a value" if error.given is None else _MUST_BE[kind]
    return error.message.replace("Input should", "must")


def _not(error: _Error) -> str:
    """Say what the value is, unless the demand says it or is about it as a whole."""
    if error.given is None or error.type in _LENGTHS or "error" in error.context:
        return ""
    return f", not {_given(error.given)}"


def _hint(error: _Error) -> str:
    if error.type in {"literal_error", "enum"} and isinstance(error.given, str):
        return did_you_mean(error.given, str(error.context["expected"]).split("'")[1::2])
    return getattr(error.context.get("error"), "hint", "")


def _given(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _bound(limit: float, given: Any) -> str:
    """Return a bound in the unit that the value is written in."""
    forms: tuple[tuple[Callable[[str], float], Callable[[Any], str]], ...] = (
        (units.parse_duration, units.format_duration),
        (units.parse_rate, units.format_rate),
    )
    for parse, form in forms:
        try:
            parse(str(given))
        except ValueError:
            continue
        return form(limit) if limit else "0"
    if limit and isinstance(given, str) and given.endswith("B"):
        return units.format_size(int(limit))
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _blank_missing(text: str, keys: list[str]) -> str:
    key, colon, _ = text.partition(":")
    return f"a blank belongs after '{key}:'" if colon and key in keys else ""


def fields(model: type[BaseModel], path: Keys) -> list[str]:
    """Return the keys that the value at a path below a model may have, as the file writes them; none if no mapping."""
    models = [model]
    for key in path:
        below = [info.annotation for one in models for name, info in _fields(one) if name == key]
        if below:  # else an index of a list, or a key that the user chooses
            models = [found for annotation in below for found in _models(annotation)]
    return [name for one in models for name, _ in _fields(one)]


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        yield info.alias or name, info


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of, through lists, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
