"""What a suite says about a data set: one frozen model per source, tagged by ``source``.

Pydantic and the standard library only, so that a suite is checked without loading anything heavy.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from sharkbench.data.options import (
    GivenSplit,
    Label,
    Labels,
    MultiValued,
    MultiValuedColumns,
    Names,
    Numeric,
    NumericColumns,
    Options,
    RandomSplit,
    SplitSpec,
    TemporalSplit,
)
from sharkbench.errors import InputError, did_you_mean

BarsName = Literal["frappe_x1", "movielenslatest_x1", "criteo_x1", "avazu_x1"]


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
    """The keys that every source shares. A column that is not named anywhere is an input: text and whole numbers are
    categorical, other numbers are put into quantile buckets. Names may hold ``*`` (``ignore: [debug_*]``)."""

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
    """Column that groups rows for grouped AUC (the user, say); it stays an input unless it is ignored."""

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
        for role in ("categorical", "numeric", "multivalued", "ignore"):
            # only what the user wrote: a source's own defaults give way to it
            for column in getattr(self, role) if role in self.model_fields_set else ():
                if seen.setdefault(column, role) != role:
                    raise ValueError(f"column '{column}' is in both {seen[column]} and {role}; it can have one role")
        if isinstance(self.split, TemporalSplit) and not (self.split.column or self.time):
            raise ValueError("a temporal split needs a column: name it as split.column or as time")
        return self

    def files(self) -> list[Path]:
        """The files that the data is read from, all of them existing.

        Raises:
            InputError: one is missing.
        """
        raise NotImplementedError

    def order_column(self) -> str:
        """Column that a temporal split goes by, ``""`` for other splits."""
        return (self.split.column or self.time) if isinstance(self.split, TemporalSplit) else ""


class _Files(Columns):
    """Files on disk, one path for all rows or one per split."""

    path: str = ""
    """File, or a pattern such as ``day_*.csv``; ``~`` and ``${NAME:-default}`` are replaced. Empty where ``split`` names files."""

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


class CsvSpec(_Files):
    """Rows of text: CSV, TSV and the like, plain or gzip. Blanks around a value do not count, an empty one is missing."""

    source: Literal["csv"] = "csv"
    separator: str = Field("", max_length=1)
    """What stands between two values; unless given, a tab for ``*.tsv`` and a comma for everything else."""
    header: bool = True
    """Whether the first line names the columns; without it they are called ``c0``, ``c1`` ... or as ``columns`` says."""
    columns: tuple[str, ...] = ()
    """Names of the columns, for files without a header."""
    missing: tuple[str, ...] = ()
    """Values that mean missing besides the empty one (``?``, ``NA``)."""

    @model_validator(mode="after")
    def _columns_without_header(self) -> Self:
        if self.columns and self.header:
            raise ValueError("columns names the columns of a file without a header; add header: false")
        return self


class ParquetSpec(_Files):
    """Parquet files."""

    source: Literal["parquet"] = "parquet"


class HubSpec(Columns):
    """A data set on the Hugging Face hub (or a local folder that ``datasets.load_dataset`` reads)."""

    source: Literal["hub"] = "hub"
    id: str
    """``owner/name`` on the hub."""
    config: str | None = None
    """Configuration of the data set, where it has several."""
    revision: str = "main"
    """Branch, tag or commit; a commit makes results reproducible for good."""
    rows: str = "train"
    """The hub split that is read where ``split`` is random, temporal or by column."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return re.sub(r"[^\w.-]+", "_", str(data["id"]).rstrip("/").rsplit("/", 1)[-1])

    def files(self) -> list[Path]:
        folder = Path(expand(self.id))
        return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []


class CriteoSpec(_Files):
    """Criteo's Kaggle ``train.txt`` (plain or gzip): tab separated, no header, 13 integers and 26 hashed categories."""

    source: Literal["criteo"] = "criteo"
    labels: Labels = (Label(column="label"),)
    """What is predicted."""
    numeric: NumericColumns = {f"I{i}": Numeric(how="log2") for i in range(1, 14)}
    """How the 13 integers are used."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "criteo"


class AvazuSpec(_Files):
    """Avazu's ``train`` (CSV, plain or gzip). A full ``hour`` (14102100) becomes hour of the day and ``weekday``, and
    stays at hand as ``time`` for a temporal split; ``id`` is not an input."""

    never_inputs: ClassVar[frozenset[str]] = frozenset({"id", "time"})

    source: Literal["avazu"] = "avazu"
    labels: Labels = (Label(column="click"),)
    """What is predicted."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "avazu"


class KuaiRandSpec(Columns):
    """KuaiRand-Pure: the official folder (``log_standard_*_pure.csv`` with ``user_features_pure.csv`` and
    ``video_features_basic_pure.csv``), or the three merged into one Parquet file."""

    never_inputs: ClassVar[frozenset[str]] = frozenset(
        [
            "date",
            "hourmin",
            "time_ms",
            "is_lowactive_period",
            "visible_status",
            "is_rand",
            "duration_ms",
            "is_click",
            "is_like",
            "is_follow",
            "is_comment",
            "is_forward",
            "is_hate",
            "long_view",
            "play_time_ms",
            "profile_stay_time",
            "comment_stay_time",
            "is_profile_enter",
        ]
    )

    source: Literal["kuairand"] = "kuairand"
    path: str
    """The folder, or the Parquet file; ``~`` and ``${NAME:-default}`` are replaced."""
    labels: Labels = (Label(column="is_click"), Label(column="long_view"))
    """What is predicted; the other feedback columns are never inputs."""
    split: SplitSpec = TemporalSplit(column="time_ms")
    """How rows are divided."""
    numeric: NumericColumns = dict.fromkeys(
        ("follow_user_num", "fans_user_num", "friend_user_num", "register_days", "video_duration"), Numeric()
    )
    """Columns of numbers."""
    multivalued: MultiValuedColumns = {"tag": MultiValued(slots=3)}
    """Columns with several values per row."""
    time: str = "time_ms"
    """Column of the time of a row."""
    group: str = "user_id"
    """Column that groups rows for grouped AUC."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "kuairand"

    def files(self) -> list[Path]:
        folder = Path(expand(self.path))
        if not folder.is_dir():
            return matching_files(self.path)
        merged = sorted(folder.glob("*.parquet"))
        logs = sorted(folder.glob("log_standard_*_pure.csv"))
        tables = [folder / "user_features_pure.csv", folder / "video_features_basic_pure.csv"]
        if logs:
            missing = [table.name for table in tables if not table.is_file()]
            if missing:
                raise InputError(f"{folder}: {' and '.join(missing)} missing beside the log_standard_*_pure.csv files")
            return [*logs, *tables]
        if len(merged) == 1:
            return merged
        raise InputError(f"{folder}: neither log_standard_*_pure.csv files nor one merged .parquet file are here")


class BarsSpec(Columns):
    """One of the BARS benchmark sets with its own train/valid/test files, from a folder or the hub (``reczoo/...``)."""

    source: Literal["bars"] = "bars"
    dataset: BarsName
    """Which one."""
    path: str = ""
    """Folder with ``train.csv``, ``valid.csv`` and ``test.csv``; downloaded from the hub unless given."""
    revision: str = "main"
    """Branch, tag or commit on the hub."""
    labels: Labels = (Label(column="label"),)
    """What is predicted."""
    split: SplitSpec = GivenSplit()
    """The published split; another kind divides the rows of all three files anew."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return str(data["dataset"])

    @property
    def hub_id(self) -> str:
        """``owner/name`` on the hub."""
        names = {"frappe_x1": "Frappe_x1", "movielenslatest_x1": "MovielensLatest_x1", "criteo_x1": "Criteo_x1"}
        return f"reczoo/{names.get(self.dataset, 'Avazu_x1')}"

    def files(self) -> list[Path]:
        if not self.path:
            return []
        return [
            file for name in ("train.csv", "valid.csv", "test.csv") for file in matching_files(f"{self.path}/{name}")
        ]


class SyntheticSpec(Columns):
    """Generated data whose truth is known: Zipf-distributed ids, a planted importance per field, interactions.

    The logit of label t is a sum over fields (a linear model learns it), of dot products of pairs of fields (an ``fm``
    learns it) and of a wave over a sum of all fields (a ``dnn`` learns it). Fields of importance 0 are pure noise.
    """

    never_inputs: ClassVar[frozenset[str]] = frozenset({"time"})

    source: Literal["synthetic"] = "synthetic"
    rows: int = Field(100_000, ge=1000)
    """Number of rows."""
    cardinalities: tuple[int, ...] = (3000, 2000, 1500, 1000, 600, 400, 200, 100, 50, 25, 10, 5)
    """Number of possible values of each field."""
    importances: tuple[float, ...] = ()
    """Planted importance of each field, any scale, 0 for pure noise; a default pattern with every fourth field noise
    unless given. Give small numbers to large fields to have tables that are large and useless."""
    zipf: float = Field(1.0, ge=0, le=3)
    """Exponent of the popularity of values: 0 is uniform."""
    strength: tuple[float, float, float] = (1.0, 2.0, 2.5)
    """Standard deviations of the linear, the pairwise and the higher-order part of the logit."""
    labels: Labels = (Label(column="click"),)
    """Labels to generate, any names; they share most of their signal."""
    rate: float = Field(0.3, gt=0, lt=1)
    """About this share of rows is positive."""
    seed: int = Field(0, ge=0)
    """Seed of the truth and of the rows."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "synthetic"

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if not self.cardinalities or min(self.cardinalities) < 2:
            raise ValueError("cardinalities needs at least one field, each of at least 2 values")
        if self.importances and len(self.importances) != len(self.cardinalities):
            raise ValueError(
                f"importances has {len(self.importances)} numbers for {len(self.cardinalities)} cardinalities; give as many"
            )
        if self.importances and (min(self.importances) < 0 or max(self.importances) == 0):
            raise ValueError("importances must be 0 or more, and one of them more than 0")
        return self

    def files(self) -> list[Path]:
        return []


_Sources = CsvSpec | ParquetSpec | HubSpec | CriteoSpec | AvazuSpec | KuaiRandSpec | BarsSpec | SyntheticSpec
SOURCES: tuple[str, ...] = tuple(kind.model_fields["source"].default for kind in get_args(_Sources))
"""The values of ``source``."""


def _by_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value == "synthetic":
        return {"source": "synthetic"}
    if value in get_args(BarsName):
        return {"source": "bars", "dataset": value}
    if value in SOURCES:
        raise ValueError(
            f"data set '{value}' needs more than its name: write {{source: {value}, ...}} with its settings"
        )
    raise ValueError(f"unknown data set '{value}'{did_you_mean(value, ['synthetic', *get_args(BarsName)])}")


DatasetSpec = Annotated[
    _Sources,
    Field(discriminator="source"),
    BeforeValidator(_by_name, json_schema_input_type=Literal["synthetic"] | BarsName | _Sources),
]
"""One data set of a suite: a mapping tagged by ``source``, or the bare name of one that needs no settings."""
