"""Maps the location of a pydantic error to the position in the file, and to the values allowed there."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from sharkbench.backbones import BACKBONES, BackboneSettings
from sharkbench.contract import registry
from sharkbench.contract.method import Method
from sharkbench.data.columns import Columns
from sharkbench.data.spec import SOURCES
from sharkbench.errors import InputError
from sharkbench.plugins import Plugins
from sharkbench.suite.document import Node
from sharkbench.suite.entries import PartOf
from sharkbench.tasks.base import Task
from sharkbench.tasks.registry import TASKS

_SHARED = ("labels", "split", "train")
"""Keys of the suite that its data sets and backbones inherit; errors in them are reported where they are written."""


@dataclass
class Place:
    """The location of an error: the path as the file spells it, the nearest node, and the types expected there.

    An unknown key has no node; the error is located at the mapping that holds it, but ``line`` is that of the key.
    """

    node: Node
    line: str
    expected: list[Any]
    path: list[str | int] = field(default_factory=list)
    beside: set[str] = field(default_factory=set)
    """Keys allowed here besides those of ``expected``."""

    def keys(self) -> set[str]:
        """Keys allowed here, without a tag that is present already."""
        models = [kind for kind in _concrete(self.expected, self.node) if _is_model(kind)]
        fields = {f.alias or name: f for kind in models for name, f in kind.model_fields.items()}
        return self.beside | {
            k for k, f in fields.items() if get_origin(f.annotation) is not Literal or not self.node.get(k)
        }


def follow(loc: Sequence[str | int], root: Node, model: type[BaseModel], *, unknown: bool) -> Place:
    """Follow pydantic's ``loc``, and skip the branches of unions and the fields that YAML does not spell out.

    Args:
        unknown: whether the last step is an unknown key.
    """
    at = Place(root, root.place, [model])
    for number, step in enumerate(loc):
        below, expected, branch = at.node.get(step), _below(at, step), _branch(step, at)
        if below is None and expected and step in _SHARED and (shared := root.get(step)) is not None:
            at = Place(shared, shared.place, expected, [step])
        elif below is not None and (expected or not branch):
            if unknown and number == len(loc) - 1:
                at.line = below.place
            else:
                at = Place(below, below.place, expected, [*at.path, step])
        elif expected:
            at = replace(at, expected=expected, beside=_siblings(at, step) if isinstance(step, str) else at.beside)
        elif branch:
            at.expected = branch
    return at


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel)


def _siblings(at: Place, step: str) -> set[str]:
    """The keys that share one YAML mapping with those of the field ``step``."""
    return {f.alias or k for kind in at.expected if _is_model(kind) for k, f in kind.model_fields.items() if k != step}


def _branch(step: str | int, at: Place) -> list[Any]:
    """The members of a union that ``step`` names: by tag or by class name."""

    def tags(kind: Any) -> set[Any]:
        literals = [f.annotation for f in kind.model_fields.values() if get_origin(f.annotation) is Literal]
        return {tag for annotation in literals for tag in get_args(annotation)}

    return [kind for kind in at.expected if _is_model(kind) and (kind.__name__ == step or step in tags(kind))]


def _below(at: Place, step: str | int) -> list[Any]:
    """The types allowed at ``step``."""
    found: list[Any] = []
    if Method in at.expected and step == "pipeline":
        return [list[Method]]
    for kind in _concrete(at.expected, at.node):
        origin, arguments = get_origin(kind), get_args(kind)
        if _is_model(kind) and isinstance(step, str):
            for f in (f for name, f in kind.model_fields.items() if step in (name, f.alias)):
                found += [*_alternatives(f.annotation), *(m.model for m in f.metadata if isinstance(m, PartOf))]
        elif origin in (list, tuple) and isinstance(step, int):
            found += _alternatives(arguments[0])
        elif origin is dict and isinstance(step, str) and arguments[1] is not Any:
            found += _alternatives(arguments[1])
    return found


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]


_PLUGINS: dict[type[BaseModel], tuple[Plugins[Any], str]] = {
    Method: (registry.METHODS, "name"),
    BackboneSettings: (BACKBONES, "name"),
    Columns: (SOURCES, "source"),
    Task: (TASKS, "name"),
}
"""Plug-ins that a suite names, and the key that names each."""


def _concrete(expected: Sequence[Any], node: Node) -> list[Any]:
    """Replace the base class of plug-ins by the class that ``node`` names."""
    for base, (known, key) in _PLUGINS.items():
        name = node.get(key)
        if base in expected and name is not None and name.value in known.names():
            try:
                return [known.get(str(name.value))]
            except InputError:
                return []
    return list(expected)
