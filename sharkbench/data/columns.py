"""What every data set of a suite states: labels, split, columns and their roles. Nothing heavy is imported."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from sharkbench.data.options import (
    GivenSplit,
    Labels,
    MultiValuedColumns,
    Names,
    NumericColumns,
    Options,
    RandomSplit,
    SplitSpec,
    TemporalSplit,
)
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


def expand(path: str) -> str:
    """``~``, ``$NAME``, ``${NAME}`` and ``${NAME:-default}`` replaced; an unset name without a default is an error."""

    def value(match: re.Match[str]) -> str:
        name, default = match["braced"] or match["bare"], match["default"]
        found = os.environ.get(name) or default
        if found is None:
            raise InputError(f"{path}: the environment variable {name} is not set; set it to the folder of the data")
        return found

    pattern = r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<bare>\w+))"
    return os.path.expanduser(re.sub(pattern, value, path))


def matching_files(path: str) -> list[Path]:
    """The file, or the files of a pattern such as ``day_*.csv`` in name order.

    Raises:
        InputError: nothing is there.
    """
    place = Path(expand(path))
    if place.is_file():
        return [place]
    if place.is_dir():
        raise InputError(f"{place}: is a folder, a file is needed")
    found = sorted(p for p in place.parent.glob(place.name) if p.is_file()) if "*" in place.name else []
    if not found:
        raise InputError(f"{place}: no such file; check the path (relative paths start at {Path.cwd()})")
    return found


class Columns(Options):
    """A source of data: the keys that every one shares, and what opens it.

    One file per source, named like it. Keep it light (no pyarrow at import, the reader is imported within
    :meth:`open`), because suites are checked by importing the sources that they name. A column that is not named
    anywhere is an input: text and whole numbers are categorical, other numbers are put into quantile buckets. Names may
    hold ``*`` (``ignore: [debug_*]``).
    """

    never_inputs: ClassVar[frozenset[str]] = frozenset()
    """Columns of the source that would leak the label or say nothing; inputs only if a role names them."""

    name: str = Field("", validate_default=False)
    """Name in tables; made from the source unless given."""
    labels: Labels
    """What is predicted: column names, or mappings that state how raw values become 0 and 1."""
    split: SplitSpec = RandomSplit()
    """How rows are divided into train, valid and test."""
    min_count: int = Field(1, ge=1)
    """Values seen less often in the training rows share id 0 with unseen and missing ones."""
    categorical: Names = ()
    """Columns whose values are categories, whatever they look like."""
    numeric: NumericColumns = {}
    """Columns of numbers, and how each is used (a list of names means quantile buckets)."""
    multivalued: MultiValuedColumns = {}
    """Columns that hold several values per row."""
    ignore: Names = ()
    """Columns that are not inputs."""
    time: str = ""
    """Column of the time of a row: order for a temporal split, not an input."""
    group: str = ""
    """Column that groups rows (the user, say), for metrics within groups; it stays an input unless it is ignored."""
    weight: str = ""
    """Column of sample weights, 0 or more, for loss and metrics; never an input."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        """Name for tables, from the raw settings."""
        path = data.get("path") or (data.get("split") or {}).get("train") or data["source"]
        return re.sub(r"[^\w.-]+", "_", Path(str(path)).name.split(".")[0]) or str(data["source"])

    @model_validator(mode="before")
    @classmethod
    def _derive_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("name"):
            source = cls.model_fields["source"].default if "source" in cls.model_fields else ""
            try:
                data = {**data, "name": cls.default_name({"source": source, **data})}
            except (AttributeError, KeyError, TypeError):
                return data  # malformed: the fields themselves say what is wrong
        return data

    @model_validator(mode="after")
    def _roles_agree(self) -> Self:
        names = [label.name for label in self.labels]
        if len(set(names)) < len(names):
            raise ValueError(f"labels have the same name twice: {', '.join(names)}; tell them apart with name:")
        seen: dict[str, str] = {label.column: "labels" for label in self.labels}
        if self.weight:
            taken = {self.group: "group", self.time: "time", getattr(self.split, "column", ""): "split", **seen}
            if self.weight in taken:
                role = taken[self.weight]
                raise ValueError(f"column '{self.weight}' is in both {role} and weight; it can have one role")
            seen[self.weight] = "weight"
        for role in ("categorical", "numeric", "multivalued", "ignore"):
            # only what the user wrote: a source's own defaults give way to it
            for column in getattr(self, role) if self.states(role) else ():
                if seen.setdefault(column, role) != role:
                    raise ValueError(f"column '{column}' is in both {seen[column]} and {role}; it can have one role")
        if isinstance(self.split, TemporalSplit) and not (self.split.column or self.time):
            raise ValueError("a temporal split needs a column: name it as split.column or as time")
        return self

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that the data is read from, all of them existing.

        Raises:
            InputError: one is missing.
        """

    @abstractmethod
    def open(self) -> Source:
        """What reads the rows.

        Raises:
            InputError: a file is missing.
            DataError: a feature table is malformed, or the data cannot be fetched.
        """

    def commit(self, cache_dir: Path) -> str:
        """Names the rows where they lie in no files, such as a revision of a remote store; ``""`` where files and
        settings decide them. ``cache_dir`` may remember what was asked for."""
        return ""

    @classmethod
    def bare_names(cls) -> dict[str, dict[str, Any]]:
        """What a suite may name without settings, and the settings that each name stands for."""
        return {}

    @classmethod
    def example(cls, folder: Path) -> Self | None:
        """A small data set (some sixty rows), whose files are written into ``folder``: what ``sharkbench check source``
        looks at. ``None`` where there is none."""
        return None

    def states(self, key: str) -> bool:
        """Whether ``key`` says something else than the source's default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def order_column(self) -> str:
        """Column that a temporal split goes by, ``""`` for other splits."""
        return (self.split.column or self.time) if isinstance(self.split, TemporalSplit) else ""


class Files(Columns):
    """Files on disk, one path for all rows or one per split."""

    path: str = ""
    """File, or a pattern such as ``day_*.csv``; ``~`` and ``${NAME:-default}`` are replaced. Empty where
    ``split`` names files."""

    @model_validator(mode="after")
    def _path_or_split_files(self) -> Self:
        by_file = isinstance(self.split, GivenSplit) and not self.split.column
        if by_file and self.path:
            raise ValueError("give either path, or a given split that names its files, not both")
        if not by_file and not self.path:
            raise ValueError("path is missing")
        return self

    def parts(self) -> list[tuple[str, list[Path]]]:
        """``(split name or "", files)`` in reading order."""
        if isinstance(self.split, GivenSplit) and not self.split.column:
            given = [("train", self.split.train), ("valid", self.split.valid), ("test", self.split.test)]
            return [(part, matching_files(path)) for part, path in given if path is not None]
        return [("", matching_files(self.path))]

    def files(self) -> list[Path]:
        return [file for _, files in self.parts() for file in files]
