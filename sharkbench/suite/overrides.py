"""``--set train.epochs=1``: overrides single keys of a suite."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sharkbench.errors import InputError
from sharkbench.suite.document import Node, parse

_KEY = re.compile(r"[\w-]+(\.[\w-]+|\[\d+\])*")


def apply(root: Node, settings: Sequence[str]) -> Node:
    """``root`` with each ``key.path=value`` set.

    Steps are keys or indices (``methods[0].operation`` or ``methods.0.operation``), values are YAML, and missing
    mappings on the path are created.

    Raises:
        InputError: a setting has another form, or a path does not exist. Unknown keys are reported when the suite is
            validated.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise InputError(
                f"--set {setting}: write it as key=value, like train.epochs=1 or methods[0].operation=mult"
            )
        place = f"--set {key}"
        steps = re.findall(r"[\w-]+", key)
        root = _replaced(root, steps, parse(text, place, lines=False), place, "")
    return root


def _replaced(node: Node, steps: list[str], new: Node, place: str, path: str) -> Node:
    if not steps:
        return new
    step, rest = steps[0], steps[1:]
    if isinstance(node.value, list):
        if not step.isdecimal() or int(step) >= len(node.value):
            last = len(node.value) - 1
            raise InputError(f"{place}: '{path}' is a list with indices 0 to {last}; '{step}' is not one of them")
        items = list(node.value)
        items[int(step)] = _replaced(items[int(step)], rest, new, place, f"{path}[{step}]")
        return Node(items, node.place)
    if node.value is None or isinstance(node.value, dict):
        values = dict(node.value or {})
        values[step] = _replaced(values.get(step, Node(None, place)), rest, new, place, f"{path}.{step}".lstrip("."))
        return Node(values, place if node.value is None else node.place)
    raise InputError(f"{place}: '{path}' is {node.value!r}, it has no keys; set it to a mapping as a whole")
