"""The roles of the columns of the raw data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from sharkbench.data.columns import Columns
from sharkbench.data.options import GivenSplit, MultiValued, Numeric
from sharkbench.errors import DataError, did_you_mean

T = TypeVar("T")
INDEX = re.compile(r"__index_level_\d+__")
"""Columns in which pandas stores its index; inputs only if a role names them."""


@dataclass(frozen=True)
class Roles:
    """``inputs`` maps each input column, in the order of the data, to its encoding; ``None`` means that its values
    decide (integers and text are categories, other numbers go into quantile buckets)."""

    inputs: Mapping[str, Numeric | MultiValued | str | None]
    order: str
    group: str
    split: str
    weight: str = ""

    @property
    def extra(self) -> list[str]:
        """Columns needed besides inputs and labels."""
        return [c for c in (self.order, self.group, self.split, self.weight) if c]


def resolve(spec: Columns, columns: Sequence[str], place: str) -> Roles:
    """Resolve the roles of ``columns``.

    Raises:
        DataError: a column named in the spec is missing, or there is no input.
    """
    if len(set(columns)) < len(columns):
        twice = next(c for c in columns if list(columns).count(c) > 1)
        raise DataError(f"{place}: column '{twice}' is there twice; rename one in the file")
    labels = {label.column for label in spec.labels}
    order = spec.order_column()
    split = spec.split.column if isinstance(spec.split, GivenSplit) else ""
    single = (("time", [spec.time]), ("group", [spec.group]), ("weight", [spec.weight]))
    for role, names in (("labels", labels), ("split", [order, split]), *single):
        required = role not in ("time", "group") or spec.states(role)
        for name in names:
            if name and name not in columns and required:
                raise DataError(f"{place}: column '{name}' (named by {role}) is missing{did_you_mean(name, columns)}")

    def expand(role: str, values: Mapping[str, T]) -> dict[str, T]:
        return _expand(values, columns, role if spec.states(role) else "", place)

    use: dict[str, Numeric | MultiValued | str] = {}
    use.update(expand("numeric", spec.numeric))
    use.update(expand("multivalued", spec.multivalued))
    use.update(expand("categorical", dict.fromkeys(spec.categorical, "categorical")))
    ignored = set(expand("ignore", dict.fromkeys(spec.ignore, True)))
    roles = ("numeric", "multivalued", "categorical")
    named = {column for role in roles if spec.states(role) for column in getattr(spec, role)}
    not_inputs = labels | {order, split, spec.time, spec.weight} | ignored | (set(spec.never_inputs) - named)
    not_inputs |= {column for column in columns if INDEX.fullmatch(column)} - named
    inputs = {column: use.get(column) for column in columns if column not in not_inputs}
    if not inputs:
        raise DataError(f"{place}: no column is left as an input; check ignore and labels")
    return Roles(inputs, order, spec.group if spec.group in columns else "", split, spec.weight)


def _expand(values: Mapping[str, T], columns: Iterable[str], role: str, place: str) -> dict[str, T]:
    """Replace patterns by the columns that they match; a name without a match is an error unless ``role`` is empty."""
    found: dict[str, T] = {}
    for pattern, value in values.items():
        matches = (
            [pattern] if pattern in columns else [c for c in columns if "*" in pattern and fnmatchcase(c, pattern)]
        )
        if not matches and role:
            raise DataError(f"{place}: column '{pattern}' (named by {role}) is missing{did_you_mean(pattern, columns)}")
        found.update(dict.fromkeys(matches, value))
    return found
