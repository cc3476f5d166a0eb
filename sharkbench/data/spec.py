"""What a suite says about a data set: one frozen model per source, tagged by ``source``. Nothing heavy is imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from sharkbench.data.columns import Columns, Files, expand, matching_files
from sharkbench.data.options import (
    GivenSplit,
    Label,
    Labels,
    MultiValued,
    MultiValuedColumns,
    Numeric,
    NumericColumns,
    SplitSpec,
    TemporalSplit,
)
from sharkbench.errors import InputError, did_you_mean

BarsName = Literal["frappe_x1", "movielenslatest_x1", "criteo_x1", "avazu_x1"]


class CsvSpec(Files):
    """Rows of text: CSV, TSV and the like, plain or gzip. Blanks around a value do not count; empty means missing."""

    reader: ClassVar[str] = "sharkbench.data.sources.csv:csv_source"

    source: Literal["csv"] = "csv"
    separator: str = Field("", max_length=1)
    """What stands between two values; unless given, a tab for ``*.tsv`` and a comma for everything else."""
    quote: Literal["", '"', "'", "none"] = ""
    """Sign around values that hold separators or line ends; ``none`` where quotes are text. Unless given, double quotes
    count, and between tabs a value in quotes ends in its line."""
    header: bool = True
    """Whether the first line names the columns; without it they are ``c0``, ``c1`` ... or what ``columns`` says."""
    columns: tuple[str, ...] = ()
    """Names of the columns, for files without a header."""
    missing: tuple[str, ...] = ()
    """Values that mean missing besides the empty one (``?``, ``NA``)."""

    @model_validator(mode="after")
    def _columns_without_header(self) -> Self:
        if self.columns and self.header:
            raise ValueError("columns names the columns of a file without a header; add header: false")
        return self


class ParquetSpec(Files):
    """Parquet files."""

    reader: ClassVar[str] = "sharkbench.data.sources.parquet:parquet_source"

    source: Literal["parquet"] = "parquet"


class HubSpec(Columns):
    """A data set on the Hugging Face hub (or a local folder that ``datasets.load_dataset`` reads)."""

    reader: ClassVar[str] = "sharkbench.data.sources.hub:hub_source"

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


class CriteoSpec(Files):
    """Criteo's Kaggle ``train.txt`` (plain or gzip): tab separated, no header, 13 integers and 26 hashed categories."""

    reader: ClassVar[str] = "sharkbench.data.sources.csv:criteo_source"

    source: Literal["criteo"] = "criteo"
    labels: Labels = (Label(column="label"),)
    """What is predicted."""
    numeric: NumericColumns = {f"I{i}": Numeric(how="log2") for i in range(1, 14)}
    """How the 13 integers are used."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "criteo"


class AvazuSpec(Files):
    """Avazu's ``train`` (CSV, plain or gzip). A full ``hour`` (14102100) becomes hour of the day and ``weekday``, and
    stays at hand as ``time`` for a temporal split; ``id`` is not an input."""

    never_inputs: ClassVar[frozenset[str]] = frozenset({"id", "time"})
    reader: ClassVar[str] = "sharkbench.data.sources.avazu:avazu_source"

    source: Literal["avazu"] = "avazu"
    labels: Labels = (Label(column="click"),)
    """What is predicted."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "avazu"


_KUAIRAND_NOT_INPUTS = (
    *("date", "hourmin", "time_ms"),
    *("is_rand", "duration_ms"),
    *("is_lowactive_period", "visible_status"),
)
"""Order and split; columns of the log that the merged file does not have; constants."""
_KUAIRAND_FEEDBACK = (
    *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
    *("play_time_ms", "profile_stay_time", "comment_stay_time", "is_profile_enter"),
)
"""What the user did after the exposure: labels, never inputs."""


class KuaiRandSpec(Columns):
    """KuaiRand-Pure: the official folder (``log_standard_*_pure.csv`` with ``user_features_pure.csv`` and
    ``video_features_basic_pure.csv``), or the three merged into one Parquet file."""

    never_inputs: ClassVar[frozenset[str]] = frozenset((*_KUAIRAND_FEEDBACK, *_KUAIRAND_NOT_INPUTS))
    reader: ClassVar[str] = "sharkbench.data.sources.kuairand:kuairand_source"

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
    """Column that groups rows, for metrics within groups."""

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

    reader: ClassVar[str] = "sharkbench.data.sources.hub:bars_source"

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
    reader: ClassVar[str] = "sharkbench.data.synthetic:synthetic_source"

    source: Literal["synthetic"] = "synthetic"
    rows: int = Field(100_000, ge=1000)
    """Number of rows."""
    cardinalities: tuple[int, ...] = (4000, 2500, 1500, 800, 400, 200, 100, 50, 30, 20, 10, 5)
    """Number of possible values of each field."""
    importances: tuple[float, ...] = ()
    """Planted importance of each field, any scale, 0 for pure noise; a default pattern with every fourth field noise
    unless given. Give small numbers to large fields to have tables that are large and useless."""
    zipf: float = Field(1.1, ge=0, le=3)
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
        if sum(self.cardinalities) >= 2**31:
            raise ValueError(f"cardinalities sum to {sum(self.cardinalities):,}, and ids end at {2**31:,}")
        if self.importances and len(self.importances) != len(self.cardinalities):
            raise ValueError(
                f"importances has {len(self.importances)} numbers for {len(self.cardinalities)} cardinalities; "
                "give as many"
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
