"""The keys that all data sets share: labels, split, columns and their roles. Imports nothing heavy."""

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
    """Expand ``~``, ``$NAME``, ``${NAME}`` and ``${NAME:-default}``; an unset name without a default is an error."""

    def value(match: re.Match[str]) -> str:
        name, default = match["braced"] or match["bare"], match["default"]
        found = os.environ.get(name) or default
        if found is None:
            raise InputError(f"{path}: the environment variable {name} is not set; set it to the folder of the data")
        return found

    pattern = r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<bare>\w+))"
    return os.path.expanduser(re.sub(pattern, value, path))


def matching_files(path: str) -> list[Path]:
    """The file, or the files that match a pattern such as ``day_*.csv``, in name order.

    Raises:
        InputError: no file matches.
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
    """A data source: the keys that all sources share, and the method that opens it.

    Each source is one file of the same name. Keep it light (no pyarrow at import, the reader is imported within
    :meth:`open`), because checking a suite imports the sources that it names. A column without a role is an input: text
    and integers are categorical, other numbers are put into quantile buckets. Column names may contain ``*``
    (``ignore: [debug_*]``).
    """

    never_inputs: ClassVar[frozenset[str]] = frozenset()
    """Columns that would leak the label or carry no information; they are inputs only if a role names them."""

    name: str = Field("", validate_default=False)
    """Name of the data set in tables; by default derived from the source."""
    labels: Labels
    """What is predicted: column names, or mappings that state how raw values become 0 and 1."""
    split: SplitSpec = RandomSplit()
    """How rows are divided into train, valid and test."""
    min_count: int = Field(1, ge=1)
    """Values that occur less often in the training rows share id 0 with unseen and missing values."""
    categorical: Names = ()
    """Columns whose values are categories, even if they look numeric."""
    numeric: NumericColumns = {}
    """Numeric columns and how each is encoded (a list of names means quantile buckets)."""
    multivalued: MultiValuedColumns = {}
    """Columns with several values per row."""
    ignore: Names = ()
    """Columns that are not inputs."""
    time: str = ""
    """Column with the time of a row. It orders the rows for a temporal split and is not an input."""
    group: str = ""
    """Column that groups rows (by user, for example) for metrics within groups; also an input unless ignored."""
    weight: str = ""
    """Column of non-negative sample weights for loss and metrics; never an input."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        """Default name in tables, derived from the raw settings."""
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
                return data  # malformed: validation of the fields reports it
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
            # only the keys that the user wrote: they override the source's defaults
            for column in getattr(self, role) if self.states(role) else ():
                if seen.setdefault(column, role) != role:
                    raise ValueError(f"column '{column}' is in both {seen[column]} and {role}; it can have one role")
        if isinstance(self.split, TemporalSplit) and not (self.split.column or self.time):
            raise ValueError("a temporal split needs a column: name it as split.column or as time")
        return self

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that the data is read from; all of them exist.

        Raises:
            InputError: a file is missing.
        """

    @abstractmethod
    def open(self) -> Source:
        """The reader of the rows.

        Raises:
            InputError: a file is missing.
            DataError: a feature table is malformed, or the data cannot be fetched.
        """

    def commit(self, cache_dir: Path) -> str:
        """Identifier of rows that are not in local files, such as a revision of a remote store; ``""`` if files and
        settings determine the rows. Answers may be cached in ``cache_dir``."""
        return ""

    @classmethod
    def bare_names(cls) -> dict[str, dict[str, Any]]:
        """Names that a suite may use without settings, and the settings that each stands for."""
        return {}

    @classmethod
    def example(cls, folder: Path) -> Self | None:
        """A small data set (about 60 rows) for ``sharkbench check source``; its files are written into ``folder``.
        ``None`` if the source has none."""
        return None

    def states(self, key: str) -> bool:
        """Whether ``key`` differs from the source's default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def order_column(self) -> str:
        """Column that a temporal split orders rows by; ``""`` for other splits."""
        return (self.split.column or self.time) if isinstance(self.split, TemporalSplit) else ""


class Files(Columns):
    """Files on disk, one path for all rows or one per split."""

    path: str = ""
    """File, or a pattern such as ``day_*.csv``; ``~`` and ``${NAME:-default}`` are expanded. Empty if ``split`` names
    files."""

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
