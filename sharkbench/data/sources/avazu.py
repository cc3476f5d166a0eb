"""The Avazu data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from sharkbench.data.columns import Files
from sharkbench.data.options import Label, Labels

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


class AvazuSpec(Files):
    """Avazu's ``train`` (CSV, plain or gzip). A full ``hour`` (14102100) becomes the hour of the day and ``weekday``;
    it remains available as ``time`` for a temporal split. ``id`` is not an input."""

    never_inputs: ClassVar[frozenset[str]] = frozenset({"id", "time"})

    source: Literal["avazu"] = "avazu"
    labels: Labels = (Label(column="click"),)
    """Labels to predict."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "avazu"

    @classmethod
    def example(cls, folder: Path) -> Self:
        file = folder / "train.csv"
        rows = "".join(f"{i},{i % 2},141021{i % 24:02d},s{i % 5}\n" for i in range(60))
        file.write_text("id,click,hour,site_id\n" + rows)
        return cls(path=str(file))

    def open(self) -> Source:
        from sharkbench.data.readers.avazu import avazu_source

        return avazu_source(self)
