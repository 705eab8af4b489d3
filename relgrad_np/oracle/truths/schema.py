"""A small validator for `schema.json`: as much of JSON Schema as that file uses.

So that an installed package checks a suite without another dependency; `tests` compare its
verdicts with what the schema says.
"""

import json
import re
from functools import cache
from importlib import resources
from typing import Any

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "type", "const", "enum", "pattern",
    "required", "properties", "additionalProperties", "items", "minimum", "maximum", "minItems",
    "maxItems",
}  # fmt: skip


@cache
def text() -> str:
    """Return the schema as it stands in the package.

    >>> json.loads(text())["properties"]["schema"]["const"]
    'relgrad-vectors/1'
    """
    return resources.files("relgrad_np.oracle").joinpath("schema.json").read_text(encoding="utf-8")


def require(value: Any, name: str = "manifest.json") -> None:
    """Raise ValueError in one line, naming the place, unless `value` is a valid manifest.

    >>> require({"schema": "relgrad-vectors/9"})
    Traceback (most recent call last):
    ValueError: manifest.json: schema must be 'relgrad-vectors/1', got 'relgrad-vectors/9'
    """
    schema = json.loads(text())
    if isinstance(value, dict) and "schema" in value:  # another version: say that, first
        _require(value["schema"], schema["properties"]["schema"], f"{name}: schema", schema)
    _require(value, schema, name, schema)


def _require(value: Any, rule: Any, name: str, root: Any) -> None:
    if "$ref" in rule:
        rule = root["$defs"][rule["$ref"].rsplit("/", 1)[-1]]
    if unknown := set(rule) - KNOWN:
        raise NotImplementedError(f"schema keywords {sorted(unknown)}")
    if "const" in rule and (type(value) is not type(rule["const"]) or value != rule["const"]):
        raise ValueError(f"{name} must be {rule['const']!r}, got {_short(value)}")
    if "enum" in rule and not (type(value) in (int, str) and value in rule["enum"]):
        raise ValueError(f"{name} must be one of {rule['enum']}, got {_short(value)}")
    if "type" in rule and (isinstance(value, bool) or not isinstance(value, TYPES[rule["type"]])):
        raise ValueError(f"{name} must be of type {rule['type']}, got {_short(value)}")
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        raise ValueError(f"{name} must match {rule['pattern']}, got {_short(value)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = rule.get("minimum", float("-inf")), rule.get("maximum", float("inf"))
        if not low <= value <= high or abs(value) == float("inf"):
            raise ValueError(f"{name} must be between {low} and {high}, got {_short(value)}")
    if isinstance(value, dict):
        _require_object(value, rule, name, root)
    if isinstance(value, list):
        low, high = rule.get("minItems", 0), rule.get("maxItems", 10**9)
        if not low <= len(value) <= high:
            raise ValueError(f"{name} must hold {low} to {high} items, got {len(value)}")
        for i, item in enumerate(value):
            _require(item, rule.get("items", {}), f"{name}[{i}]", root)


def _require_object(value: Any, rule: Any, name: str, root: Any) -> None:
    known = rule.get("properties", {})
    for key in rule.get("required", []):
        if key not in value:
            raise ValueError(f"{name} has no {key!r}")
    for key, item in value.items():
        other = rule.get("additionalProperties", {})
        if key not in known and other is False:
            raise ValueError(f"{name} has an unknown key {_short(key)}")
        _require(item, known.get(key, other), f"{name}: {key[:60]}", root)


def _short(value: Any) -> str:
    shown = repr(value) if isinstance(value, (str, int, float, bool)) else type(value).__name__
    return shown if len(shown) <= 60 else shown[:60] + "..."
