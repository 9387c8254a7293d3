"""The one schema of models, heads and manifest entries, and what is wrong with a file by it."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

Rule = Mapping[str, Any]
Problem = tuple[str, str]

LONGEST_HEADER = 10_000_000  # bytes of a safetensors header; ours have a hundredth of it
SHOWN = 40  # characters of a wrong value that a message shows
_TYPES: dict[str, tuple[Any, str]] = {
    "object": (dict, "an object"),
    "array": (list, "a list"),
    "string": (str, "a text"),
    "boolean": (bool, "true or false"),
    "null": (type(None), "null"),
    "number": ((int, float), "a finite number"),
    "integer": (int, "a whole number"),
}


def _is_like(value: Any, pattern: str) -> bool:
    # The sign $ of JSON Schema means the very end, and other types are let through.
    return not isinstance(value, str) or bool(re.search(pattern.replace("$", r"\Z"), value))


_LIMITS: dict[str, Callable[[Any, Any], bool]] = {  # of one value
    "const": lambda value, wanted: value == wanted and type(value) is type(wanted),
    "pattern": _is_like,
    "minLength": lambda value, least: len(value) >= least,
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "uniqueItems": lambda value, _: len(set(map(repr, value))) == len(value),
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "not": lambda value, rule: any(_list_problems(value, rule, "")),
}


@cache
def _read_schema() -> dict[str, Any]:
    return dict(json.loads(Path(__file__).with_suffix(".json").read_bytes())["$defs"])


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of unknown origin; whatever is wrong with it is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def find_problem(value: Any, name: str) -> str | None:
    """What is first wrong with a JSON value, by a definition, as ``path: must be ...``; or None."""
    for path, problem in _list_problems(value, _read_schema()[name], ""):
        return f"{path}: {problem}" if path else problem
    return None


def _list_problems(value: Any, rule: Rule, path: str) -> Iterator[Problem]:
    """Each broken rule; those that need the right type only where the type is right."""
    said = rule.get("description")
    if "$ref" in rule:
        yield from _list_problems(value, _read_schema()[rule["$ref"].rpartition("/")[2]], path)
    if "type" in rule and not _is_type(value, rule["type"]):
        yield path, f"must be {said or _TYPES[rule['type']][1]}, not {_show(value)}"
        return
    if "enum" in rule and value not in rule["enum"]:
        yield path, f"{_show(value)} is not one of {', '.join(rule['enum'])}"
    if "anyOf" in rule:
        yield from _list_no_choice(value, rule, path)
    if any(key in rule and not holds(value, rule[key]) for key, holds in _LIMITS.items()):
        yield path, f"must be {said}, not {_show(value)}"
        return
    if "if" in rule:
        branch = "else" if any(_list_problems(value, rule["if"], path)) else "then"
        yield from _list_problems(value, rule.get(branch, {}), path)
    yield from _list_parts(value, rule, path)
    for part in rule.get("allOf", ()):
        yield from _list_problems(value, part, path)


def _list_no_choice(value: Any, rule: Rule, path: str) -> Iterator[Problem]:
    """The first choice's problem where no choice fits, in the words of the whole if it has any."""
    found = [next(_list_problems(value, choice, path), None) for choice in rule["anyOf"]]
    if None in found:
        return
    if "description" in rule and not isinstance(value, dict):
        yield path, f"must be {rule['description']}, not {_show(value)}"
    else:
        yield from (problem for problem in found[:1] if problem)


def _list_parts(value: Any, rule: Rule, path: str) -> Iterator[Problem]:
    if isinstance(value, list) and "items" in rule:
        for i, item in enumerate(value):
            yield from _list_problems(item, rule["items"], f"{path}[{i}]")
    if not isinstance(value, dict):
        return
    known, others = rule.get("properties", {}), rule.get("additionalProperties", {})
    dot = f"{path}." if path else ""
    for key in rule.get("required", ()):
        if key not in value:
            yield f"{dot}{key}", "is missing"
    for key, item in value.items():
        if key not in known and others is False:
            yield f"{dot}{_show(key)[1:-1]}", "is not a known field"
        else:
            yield from _list_problems(item, known.get(key, others or {}), f"{dot}{key}")


def _is_type(value: Any, name: str) -> bool:
    if name in ("number", "integer"):
        right = isinstance(value, _TYPES[name][0]) and not isinstance(value, bool)
        return right and abs(value) <= sys.float_info.max  # false for NaN as well
    return isinstance(value, _TYPES[name][0])


def _show(value: Any) -> str:
    """A value on one line, shortened; of an object or a list, only what it is."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
