"""The JSON Schema of the configuration (draft 2020-12), from the models that read it.

A stanza under `services` is of the kind that its `type` names, or its own name where it has no `type`. Editors that use
the YAML language server complete and check by it; what it cannot say (two services on one address), only `load` does.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from multid.config.model import File, ServiceConfig

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Leaves out titles, which only repeat the names, and writes defaults as the file would."""

    def model_schema(self, schema: Any) -> Schema:
        written = super().model_schema(schema)
        defaults = schema["cls"].model_construct().model_dump(mode="json", by_alias=True, warnings=False)
        for name, value in written["properties"].items():
            if "default" in value:
                value["default"] = defaults[name]
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema(kinds: Mapping[str, type[ServiceConfig]]) -> Schema:
    """Return the schema of a file that may have services of these kinds."""
    models = [(model, "validation") for model in (File, *kinds.values())]
    references, definitions = models_json_schema(models, schema_generator=_Generator)  # type: ignore[arg-type]
    of_kind = {name: references[model, "validation"] for name, model in kinds.items()}
    defs = definitions["$defs"]
    top = defs.pop(references[File, "validation"]["$ref"].rpartition("/")[2])
    top["properties"]["services"] = _services(of_kind)
    if ServiceConfig not in kinds.values():
        del defs[ServiceConfig.__name__]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": "multid.yaml",
        "$defs": defs | {"service": _by_type(of_kind)},
    }


def _services(of_kind: Mapping[str, Schema]) -> Schema:
    typed = {"$ref": "#/$defs/service"}
    return {
        "type": ["object", "null"],
        "description": "the services by name; a stanza without 'type' is of the type that is its name",
        "properties": {
            name: {"if": {"required": ["type"]}, "then": typed, "else": reference}
            for name, reference in of_kind.items()
        },
        "additionalProperties": {"required": ["type"], **typed},
    }


def _by_type(of_kind: Mapping[str, Schema]) -> Schema:
    choices = [
        {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": reference}
        for name, reference in of_kind.items()
    ]
    return {"type": "object", "properties": {"type": {"enum": list(of_kind)}}, "allOf": choices}
