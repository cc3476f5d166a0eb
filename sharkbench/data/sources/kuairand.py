"""KuaiRand-Pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from sharkbench.data.columns import Columns, expand, matching_files
from sharkbench.data.options import (
    Label,
    Labels,
    MultiValued,
    MultiValuedColumns,
    Numeric,
    NumericColumns,
    SplitSpec,
    TemporalSplit,
)
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source

_KUAIRAND_NOT_INPUTS = (
    *("date", "hourmin", "time_ms"),
    *("is_rand", "duration_ms"),
    *("is_lowactive_period", "visible_status"),
)
"""Columns for order and split; columns of the log that the merged file lacks; constant columns."""
_KUAIRAND_FEEDBACK = (
    *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
    *("play_time_ms", "profile_stay_time", "comment_stay_time", "is_profile_enter"),
)
"""Actions of the user after the exposure: labels, never inputs."""


class KuaiRandSpec(Columns):
    """KuaiRand-Pure: the official folder (``log_standard_*_pure.csv`` with ``user_features_pure.csv`` and
    ``video_features_basic_pure.csv``), or one Parquet file into which the three are merged."""

    never_inputs: ClassVar[frozenset[str]] = frozenset((*_KUAIRAND_FEEDBACK, *_KUAIRAND_NOT_INPUTS))

    source: Literal["kuairand"] = "kuairand"
    path: str
    """The folder or the Parquet file; ``~`` and ``${NAME:-default}`` are expanded."""
    labels: Labels = (Label(column="is_click"), Label(column="long_view"))
    """Labels to predict; the other feedback columns are never inputs."""
    split: SplitSpec = TemporalSplit(column="time_ms")
    """How rows are divided into train, valid and test."""
    numeric: NumericColumns = dict.fromkeys(
        ("follow_user_num", "fans_user_num", "friend_user_num", "register_days", "video_duration"), Numeric()
    )
    """Numeric columns and how each is encoded."""
    multivalued: MultiValuedColumns = {"tag": MultiValued(slots=3)}
    """Columns with several values per row."""
    time: str = "time_ms"
    """Column with the time of a row."""
    group: str = "user_id"
    """Column that groups rows for metrics within groups."""

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

    @classmethod
    def example(cls, folder: Path) -> Self:
        users, videos = "user_id,register_days\n", "video_id,tag\n"
        (folder / "user_features_pure.csv").write_text(users + "".join(f"{i},{i * 30}\n" for i in range(7)))
        (folder / "video_features_basic_pure.csv").write_text(videos + "".join(f'{i},"{i},9"\n' for i in range(11)))
        rows = [f"{i % 7},{i % 11},20220408,{i % 24}00,{i},{i % 2},{i // 2 % 2}" for i in range(60)]
        first = "user_id,video_id,date,hourmin,time_ms,is_click,long_view"
        (folder / "log_standard_1_pure.csv").write_text("\n".join([first, *rows]) + "\n")
        return cls(path=str(folder), numeric={"register_days": Numeric()})

    def open(self) -> Source:
        from sharkbench.data.readers.kuairand import kuairand_source

        return kuairand_source(self)
