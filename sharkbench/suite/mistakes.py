"""Pydantic's errors as single lines: position, key, problem, and the value that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from sharkbench.errors import did_you_mean, printable
from sharkbench.suite.document import Node
from sharkbench.suite.places import Place, follow

_MAX_LINES = 20


def explain(error: ValidationError, root: Node, model: type[BaseModel]) -> list[str]:
    """One line per error, in the order of the file.

    Args:
        root: the validated document.
        model: the model that it was validated against.
    """
    # Several errors about one value come from the members of a union, none of which accepted it.
    of_value: dict[tuple[str, str, str], list[tuple[Mapping[str, Any], Place]]] = {}
    for detail in error.errors(include_url=False):
        at = follow(detail["loc"], root, model, unknown=detail["type"] == "extra_forbidden")
        if detail["type"] == "too_short" and isinstance(at.node.value, list) and at.node.value:
            continue  # the entries exist, but have errors of their own
        own = str(detail["loc"][-1:]) if detail["type"] in ("missing", "extra_forbidden") else ""
        of_value.setdefault((at.line, _spelled(at.path), own), []).append((dict(detail), at))
    places = sorted(of_value, key=lambda place: _line_number(place[0]))
    lines = []
    for line, path, own in places[:_MAX_LINES]:  # searching for what was meant takes time
        messages = dict.fromkeys(_message(detail, at) for detail, at in of_value[line, path, own])
        lines.append(printable(f"{line}: {path + ': ' if path else ''}{' or '.join(messages)}"))
    more = len(places) - _MAX_LINES
    return lines if more <= 0 else [*lines, f"{root.place}: and {more} more"]


def _line_number(place: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?):(\d+)", place)
    return (found[1], int(found[2])) if found else (place, 0)


def _spelled(path: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _message(detail: Mapping[str, Any], at: Place) -> str:
    kind, given, context, last = detail["type"], detail["input"], detail.get("ctx", {}), detail["loc"][-1:]
    match kind:
        case "extra_forbidden":
            unknown = str(last[0])
            return f"unknown key '{unknown}'{did_you_mean(unknown, at.keys())}"
        case "missing":
            return f"'{last[0]}' is missing" if isinstance(last[0], str) else f"item [{last[0]}] is missing"
        case "union_tag_not_found" | "union_tag_invalid":
            return _tag_message(given, context, at)
        case "literal_error" | "enum":
            choices = re.findall(r"'([^']*)'", str(context["expected"]))
            return f"must be {context['expected']}, got {_shown(given)}{_guess(given, choices)}"
        case "value_error":
            return str(context["error"])
        case "model_type" | "model_attributes_type" | "dict_type" | "dict_attributes_type":
            return f"must be a mapping, got {_shown(given)}"
        case "tuple_type" | "list_type":
            return f"must be a list, got {_shown(given)}"
        case "too_short":
            least = context["min_length"]
            return f"needs at least {least} {'entry' if least == 1 else 'entries'}, has {context['actual_length']}"
        case _:
            text = re.sub(r"^(Input|String) should", "must", str(detail["msg"])).split(", ")[0]
            return f"{text[0].lower()}{text[1:]}, got {_shown(given)}"


def _tag_message(given: Any, context: Mapping[str, Any], at: Place) -> str:
    key = str(context["discriminator"]).strip("'")
    if "tag" not in context:
        return (
            f"'{key}' is missing" if isinstance(given, dict) else f"must be a mapping with '{key}', got {_shown(given)}"
        )
    choices = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    lists = [step.removesuffix("s") for step in at.path if isinstance(step, str)]
    noun = lists[-1] if key == "name" and lists else key
    return f"unknown {noun} '{context['tag']}'{did_you_mean(str(context['tag']), choices)}"


def _guess(given: Any, choices: Sequence[str]) -> str:
    hint = did_you_mean(given, choices) if isinstance(given, str) else ""
    return hint if "did you mean" in hint else ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
