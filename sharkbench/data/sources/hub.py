"""Data sets on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from sharkbench.data.columns import Columns, expand
from sharkbench.data.hub import commit_of
from sharkbench.data.options import GivenSplit, Label

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


class HubSpec(Columns):
    """A data set on the Hugging Face hub (or a local folder that ``datasets.load_dataset`` reads)."""

    source: Literal["hub"] = "hub"
    id: str
    """``owner/name`` on the hub."""
    config: str | None = None
    """Configuration of the data set, if it has several."""
    revision: str = "main"
    """Branch, tag or commit; a commit keeps results reproducible when the data set changes."""
    rows: str = "train"
    """The hub split to read if ``split`` is random, temporal or by column."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return re.sub(r"[^\w.-]+", "_", str(data["id"]).rstrip("/").rsplit("/", 1)[-1])

    def files(self) -> list[Path]:
        folder = Path(expand(self.id))
        return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []

    def commit(self, cache_dir: Path) -> str:
        return "" if self.files() else commit_of(self.id, self.revision, cache_dir)

    @classmethod
    def example(cls, folder: Path) -> Self:
        (folder / "clicks").mkdir()
        for part in ("train", "validation", "test"):
            rows = "".join(f"u{i % 7},{i % 24},{i % 2}\n" for i in range(60))
            (folder / "clicks" / f"{part}.csv").write_text("user,hour,click\n" + rows)
        return cls(id=str(folder / "clicks"), labels=(Label(column="click"),), split=GivenSplit())

    def open(self) -> Source:
        from sharkbench.data.readers.hub import hub_source

        return hub_source(self)
