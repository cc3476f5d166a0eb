"""Text files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from sharkbench.data.columns import Files
from sharkbench.data.options import Label

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


class CsvSpec(Files):
    """Delimited text: CSV, TSV and the like, plain or gzip. Blanks around a value are stripped; empty means missing."""

    source: Literal["csv"] = "csv"
    separator: str = Field("", max_length=1)
    """Separator between values; by default a tab for ``*.tsv`` files and a comma for all others."""
    quote: Literal["", '"', "'", "none"] = ""
    """Quote character around values that contain separators or line ends; ``none`` if quotes are plain text. The
    default is the double quote; in tab-separated files a quoted value then ends in its line."""
    header: bool = True
    """Whether the first line names the columns; if not, they are named ``c0``, ``c1`` ... or as in ``columns``."""
    columns: tuple[str, ...] = ()
    """Column names for files without a header."""
    missing: tuple[str, ...] = ()
    """Values that mean missing, besides the empty value (``?``, ``NA``)."""

    @model_validator(mode="after")
    def _columns_without_header(self) -> Self:
        if self.columns and self.header:
            raise ValueError("columns names the columns of a file without a header; add header: false")
        return self

    @classmethod
    def example(cls, folder: Path) -> Self:
        file = folder / "clicks.csv"
        file.write_text("user,hour,click\n" + "".join(f"u{i % 7},{i % 24},{i % 2}\n" for i in range(60)))
        return cls(path=str(file), labels=(Label(column="click"),))

    def open(self) -> Source:
        from sharkbench.data.readers.csv import csv_source

        return csv_source(self)
