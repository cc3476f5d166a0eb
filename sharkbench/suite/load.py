"""Loads a suite from a file, a built-in name or a mapping, and applies ``extends`` and ``--set``."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sharkbench.errors import InputError, did_you_mean
from sharkbench.suite import overrides
from sharkbench.suite.document import Node, read
from sharkbench.suite.mistakes import explain
from sharkbench.suite.model import Suite


def load(source: str | Path | Mapping[str, Any], settings: Sequence[str] = ()) -> Suite:
    """Load a suite: from a file (``my/suite.yaml``), a built-in name (``quickstart``) or a mapping.

    Args:
        settings: ``key=value`` overrides, as for ``--set``.

    Raises:
        InputError: one line per mistake, each with file, line and key.
    """
    root = _as_node(source) if isinstance(source, Mapping) else _extended(locate(source), ())
    root = overrides.apply(root, settings)
    try:
        return Suite.model_validate(root.plain())
    except ValidationError as error:
        raise InputError("\n".join(explain(error, root, Suite))) from None


def locate(source: str | Path, start: Path = Path()) -> Path:
    """The file of a suite: ``source`` as a path (relative to ``start``) if it looks like one, else of a built-in suite.

    Raises:
        InputError: ``source`` looks like a name, and no built-in suite has it.
    """
    text = str(source)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        return start / text
    known = built_in()
    if text not in known:
        raise InputError(f"no built-in suite '{text}'{did_you_mean(text, known)}; a suite of your own ends in .yaml")
    return known[text]


@cache
def built_in() -> dict[str, Path]:
    """Names and files of the suites that come with the package."""
    folder = Path(str(importlib.resources.files("sharkbench.suites")))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _extended(path: Path, within: tuple[Path, ...]) -> Node:
    root = read(path)
    assert isinstance(root.value, dict)
    own = dict(root.value)
    own.setdefault("name", Node(path.stem, str(path)))
    parent = own.pop("extends", None)
    if parent is None:
        return Node(own, root.place)
    if not isinstance(parent.value, str):
        raise InputError(f"{parent.place}: extends: must be the path or the name of one suite")
    chain = (*within, path.resolve())
    try:
        base = locate(parent.value, path.parent)
    except InputError as error:
        raise InputError(f"{parent.place}: extends: {error}") from None
    if base.resolve() in chain:
        raise InputError(f"{parent.place}: extends: '{parent.value}' leads back to this suite; break the circle")
    if not base.is_file():
        raise InputError(f"{parent.place}: extends: no such file: {base} (relative paths start at the suite's folder)")
    return _merged(_extended(base, chain), Node(own, root.place))


def _merged(base: Node, own: Node) -> Node:
    """Override ``base`` by ``own``: mappings merge (unless their tags differ), all other values are replaced."""
    if not isinstance(base.value, dict) or not isinstance(own.value, dict):
        return own
    values = dict(base.value)
    for key, node in own.value.items():
        old = values.get(key)
        values[key] = _merged(old, node) if old is not None and not _differ(old, node) else node
    return Node(values, own.place)


def _differ(base: Node, own: Node) -> bool:
    """Whether two mappings have different tags, such as two kinds of split."""
    for tag in ("name", "kind", "source", "pipeline"):
        old, new = base.get(tag), own.get(tag)
        if new is not None and (old is None or old.value != new.value):
            return True
    return False


def _as_node(value: Any) -> Node:
    if isinstance(value, Mapping):
        return Node({str(key): _as_node(item) for key, item in value.items()}, "suite")
    if isinstance(value, list | tuple):
        return Node([_as_node(item) for item in value], "suite")
    return Node(value, "suite")
