"""The Criteo Kaggle data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from sharkbench.data.columns import Files
from sharkbench.data.options import Label, Labels, Numeric, NumericColumns

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


class CriteoSpec(Files):
    """Criteo's Kaggle ``train.txt`` (plain or gzip): tab-separated, no header, 13 integers and 26 hashed categories."""

    source: Literal["criteo"] = "criteo"
    labels: Labels = (Label(column="label"),)
    """Labels to predict."""
    numeric: NumericColumns = {f"I{i}": Numeric(how="log2") for i in range(1, 14)}
    """How the 13 integer columns are encoded."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "criteo"

    @classmethod
    def example(cls, folder: Path) -> Self:
        file = folder / "train.txt"
        numbers = ["\t".join(str(i * k % 50) for k in range(1, 14)) for i in range(60)]
        categories = ["\t".join(f"{i * k % 9:08x}" for k in range(1, 27)) for i in range(60)]
        pairs = zip(numbers, categories, strict=True)
        file.write_text("".join(f"{i % 2}\t{mine}\t{its}\n" for i, (mine, its) in enumerate(pairs)))
        return cls(path=str(file))

    def open(self) -> Source:
        from sharkbench.data.readers.csv import criteo_source

        return criteo_source(self)
