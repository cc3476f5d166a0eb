"""A prepared data set, as read by training, methods and measurement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharkbench.data.samples import Split, SplitName
from sharkbench.data.schema import Schema
from sharkbench.errors import InputError, did_you_mean


@dataclass(frozen=True)
class PreparedDataset:
    """An encoded data set on disk. ``fingerprint`` covers source bytes and settings;
    ``summary`` has facts for display (rows per split, label rates, split kind, bayes_ranking if known)."""

    name: str
    path: Path
    fingerprint: str
    schema: Schema
    summary: dict[str, Any]
    splits: dict[SplitName, Split]

    def vocabulary(self, field: str) -> list[str | None]:
        """Raw values of a field by local id; entry 0 is ``None``, the id of unseen and missing values. A numeric
        field's values are the names of its buckets (see :attr:`columns` for their edges).

        Raises:
            InputError: there is no such field.
        """
        from sharkbench.data.arrow import open_vocabulary

        names = [f.name for f in self.schema.fields]
        if field not in names:
            raise InputError(f"{self.name}: unknown field '{field}'{did_you_mean(field, names)}")
        first, end = self.schema.offsets[names.index(field) :][:2]
        values: list[str | None] = (
            open_vocabulary(self.path / "vocabulary.arrow").column("value")[first:end].to_pylist()
        )
        return values

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """How each input column was encoded: ``how``, and ``edges``, ``mean`` and ``scale``, or ``separator``."""
        columns: dict[str, dict[str, Any]] = json.loads((self.path / "dataset.json").read_text())["columns"]
        return columns
