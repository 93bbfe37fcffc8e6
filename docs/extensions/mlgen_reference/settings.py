"""What a section of the card may hold, read from its pydantic model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mlgen_reference.markdown import code

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section.

    Args:
        name: As it stands in the card.
        type: What is expected, in words, as Markdown.
        default: As it would stand in the card; empty where there is none.
        required: Whether it has to be there.
        description: What it means; empty where the code does not say.
        models: The sections below it, one for most.
    """

    name: str
    type: str
    default: str
    required: bool
    description: str
    models: tuple[type[BaseModel], ...]


def keys_of(model: type[BaseModel]) -> tuple[Key, ...]:
    """All keys of a section, in the order of the code."""
    schema = model.model_json_schema()
    return tuple(
        Key(
            name=field.alias or name,
            type=_in_words(schema["properties"][field.alias or name], schema.get("$defs", {})),
            default=_default(field),
            required=field.is_required(),
            description=(field.description or "").strip(),
            models=models_in(field.annotation),
        )
        for name, field in model.model_fields.items()
    )


def models_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The pydantic models that an annotation names, each once, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    found = (model for argument in getattr(annotation, "__args__", ()) or () for model in models_in(argument))
    return tuple(dict.fromkeys(found))


def sections_of(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Yield every section below a model with the keys that lead to it, itself first."""
    yield path, model
    for name, field in model.model_fields.items():
        for below in models_in(field.annotation):
            yield from sections_of(below, (*path, name))


def undescribed(model: type[BaseModel], name: str = "") -> list[str]:
    """Keys that say nothing about themselves, as ``section.key``; a section may say it in its class's docstring."""
    missing = []
    for path, section in sections_of(model):
        for key in keys_of(section):
            said = key.description or any((below.__dict__.get("__doc__") or "").strip() for below in key.models)
            if not said:
                missing.append(".".join(part for part in (name, *path, key.name) if part))
    return missing


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or isinstance(value, BaseModel) or value in ((), [], {}):
        return ""
    return as_toml(value)


def as_toml(value: Any) -> str:
    """A value as it would stand in a card."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return "inf" if math.isinf(value) else repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_bare(key)} = {as_toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "[" + ", ".join(as_toml(entry) for entry in value) + "]"
    return json.dumps(str(getattr(value, "value", value)))


def _bare(key: object) -> str:
    text = str(key)
    return text if text.replace("_", "").replace("-", "").isalnum() else json.dumps(text)


_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def _in_words(schema: Schema, definitions: Mapping[str, Schema], *, several: bool = False) -> str:
    """Say what a JSON schema allows, as Markdown."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        if "enum" in target:
            return _in_words(target, definitions, several=several)
        return "tables" if several else "table"
    if "anyOf" in schema or "oneOf" in schema:
        parts = [_in_words(part, definitions, several=several) for part in schema.get("anyOf", schema.get("oneOf", ()))]
        return _listed([part for part in dict.fromkeys(parts) if part])
    if "const" in schema:
        return code(as_toml(schema["const"]))
    if "enum" in schema:
        return _listed([code(as_toml(value)) for value in schema["enum"]])
    kind = schema.get("type")
    if kind == "null":
        return ""
    if kind == "array":
        if "prefixItems" in schema:
            parts = [_in_words(part, definitions) for part in schema["prefixItems"]]
            alike = len(set(parts)) == 1 and "`" in parts[0]
            return f"list of {len(parts)}, each {parts[0]}" if alike else code(f"[{', '.join(parts)}]")
        inner = _in_words(schema.get("items", {}), definitions, several=True)
        return f"list of {inner or 'values'}{_length(schema)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = _in_words(values, definitions, several=True) if isinstance(values, Mapping) else ""
        return ("tables" if several else "table") + (f" with {inner} for each name" if inner else "")
    words = _TYPES.get(str(kind), "any value")
    words += "s" if several and words.endswith("number") else ""
    return words + _bounds(schema)


def _bounds(schema: Schema) -> str:
    said = [
        f"{words} {as_toml(schema[name])}"
        for name, words in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "greater than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
            ("multipleOf", "a multiple of"),
        )
        if name in schema
    ]
    if "pattern" in schema:
        said.append(f"of the form {code(schema['pattern'])}")
    if schema.get("minLength"):
        said.append("not empty")
    return f", {' and '.join(said)}" if said else ""


def _length(schema: Schema) -> str:
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if fewest and most:
        return f", {fewest} of them" if fewest == most else f", {fewest} to {most} of them"
    return f", at least {fewest}" if fewest else f", at most {most}" if most else ""


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" or {parts[-1]}" if parts else ""
