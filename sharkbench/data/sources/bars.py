"""The data sets of the BARS benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from sharkbench.data.columns import Columns, matching_files
from sharkbench.data.hub import commit_of
from sharkbench.data.options import GivenSplit, Label, Labels, SplitSpec

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source

BarsName = Literal["frappe_x1", "movielenslatest_x1", "criteo_x1", "avazu_x1"]


class BarsSpec(Columns):
    """A data set of the BARS benchmark with its train/valid/test files, from a folder or the hub (``reczoo/...``)."""

    source: Literal["bars"] = "bars"
    dataset: BarsName
    """Name of the data set."""
    path: str = ""
    """Folder with ``train.csv``, ``valid.csv`` and ``test.csv``; if empty, they are downloaded from the hub."""
    revision: str = "main"
    """Branch, tag or commit on the hub."""
    labels: Labels = (Label(column="label"),)
    """Labels to predict."""
    split: SplitSpec = GivenSplit()
    """By default the published split; any other kind of split divides the rows of all three files again."""

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

    @classmethod
    def bare_names(cls) -> dict[str, dict[str, Any]]:
        return {name: {"dataset": name} for name in get_args(BarsName)}

    def commit(self, cache_dir: Path) -> str:
        return "" if self.files() else commit_of(self.hub_id, self.revision, cache_dir)

    @classmethod
    def example(cls, folder: Path) -> Self:
        for part in ("train", "valid", "test"):
            rows = "".join(f"u{i % 7},{i % 24},{i % 2}\n" for i in range(60))
            (folder / f"{part}.csv").write_text("user,hour,label\n" + rows)
        return cls(dataset="frappe_x1", path=str(folder))

    def open(self) -> Source:
        from sharkbench.data.readers.hub import bars_source

        return bars_source(self)
