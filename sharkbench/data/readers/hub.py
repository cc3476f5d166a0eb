"""Data from the Hugging Face hub, or any folder that ``datasets.load_dataset`` reads."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from sharkbench.data.columns import expand, matching_files
from sharkbench.data.options import GivenSplit
from sharkbench.data.readers.base import Chunk, Source
from sharkbench.data.readers.csv import CsvSource
from sharkbench.errors import DataError, did_you_mean
from sharkbench.files.durable import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sharkbench.data.sources.bars import BarsSpec
    from sharkbench.data.sources.hub import HubSpec

ROWS = 65_536


class HubSource(Source):
    """Rows of a hub data set, memory-mapped by ``datasets``."""

    def __init__(self, spec: HubSpec) -> None:
        self.spec = spec

    def chunks(self) -> Iterator[Chunk]:
        spec = self.spec
        folder = Path(expand(spec.id))
        identity = str(folder) if folder.is_dir() else spec.id
        options: dict[str, Any] = {} if folder.is_dir() else {"revision": spec.revision}
        try:
            loaded = datasets.load_dataset(identity, spec.config, **options)
        except Exception as error:  # any error of the hub, the network or a file becomes one line for the user
            raise DataError(
                f"{spec.id}: cannot be loaded ({_first_line(error)}); check the id, config and network"
            ) from None
        if isinstance(spec.split, GivenSplit) and not spec.split.column:
            given = [("train", spec.split.train), ("valid", spec.split.valid), ("test", spec.split.test)]
            wanted = [(part, name) for part, name in given if name is not None]
        else:
            wanted = [("", spec.rows)]
        for part, name in wanted:
            # the hub's validation is our valid
            found = name if name in loaded else "validation" if name == "valid" and "validation" in loaded else None
            if found is None:
                raise DataError(f"{spec.id}: there is no split '{name}'{did_you_mean(name, list(loaded))}")
            rows = loaded[found].with_format("arrow")
            for first in range(0, len(rows), ROWS):
                table = rows[first : first + ROWS]
                yield Chunk(table, first, f"{spec.id} ({found})", part, (first + table.num_rows) / len(rows))


def bars_source(spec: BarsSpec) -> CsvSource:
    """The reader of the three files of a BARS data set, from its folder or downloaded once.

    Raises:
        DataError: the hub cannot be reached, or has other files.
    """
    folder = Path(expand(spec.path)) if spec.path else _download(spec)
    names = (("train", "train.csv"), ("valid", "valid.csv"), ("test", "test.csv"))
    return CsvSource([(part, matching_files(str(folder / name))) for part, name in names])


def _download(spec: BarsSpec) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                spec.hub_id, repo_type="dataset", revision=spec.revision, allow_patterns=["*.csv", "*.zip"]
            )
        )
    except Exception as error:  # as above
        raise DataError(
            f"{spec.hub_id}: cannot be downloaded ({_first_line(error)}); set path to a folder with train.csv, "
            "valid.csv and test.csv"
        ) from None
    if not (folder / "train.csv").is_file():
        for archive in folder.glob("*.zip"):
            with zipfile.ZipFile(archive) as packed:
                for member in packed.infolist():
                    # by base name only, so that nothing is written outside the folder
                    if Path(member.filename).name in ("train.csv", "valid.csv", "test.csv"):
                        # and atomically: every later call would take half a file for the data
                        with (
                            replacing(folder / Path(member.filename).name) as partial,
                            packed.open(member) as source,
                            partial.open("wb") as target,
                        ):
                            shutil.copyfileobj(source, target)
    if not (folder / "train.csv").is_file():
        raise DataError(f"{spec.hub_id}: no train.csv in {folder}; set path to a folder that has it")
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def hub_source(spec: HubSpec) -> HubSource:
    """The reader of a data set of the hub."""
    return HubSource(spec)
