"""A store's records in one small file, without models and logs: enough to make every table and report again.

``store.parquet`` has a row per run; its columns hold the text of the run's files. It is what is committed of results.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sharkbench.errors import InputError
from sharkbench.store import ENVIRONMENT, NOTES, RESULT, SPEC, SPEED, SPEED_ERROR, Store

ARCHIVE = "store.parquet"
FILES = (SPEC, ENVIRONMENT, RESULT, NOTES, SPEED, SPEED_ERROR)
MAX_BYTES = 1 << 30
"""Of all texts together; more is refused, as a small file can say the same long text many times."""


def write_archive(store: Store, path: Path) -> None:
    """Write the records of every run; the file appears in one rename. The same store gives the same bytes."""
    keys = store.keys()
    columns: dict[str, list[str | None]] = {"key": list(keys)}
    for name in FILES:
        columns[name] = [store.text(key, name) for key in keys]
    table = pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, part, compression="zstd", compression_level=6)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store at ``path``: an output directory with its runs, one that holds an archive only, or an archive itself.

    Raises:
        InputError: none of these.
    """
    archive = path if path.is_file() else path / ARCHIVE
    if path.is_dir() and (path / "runs").is_dir():
        yield Store(path)
    elif archive.is_file():
        with tempfile.TemporaryDirectory(prefix="sharkbench-") as folder:
            yield _unpacked(archive, Path(folder))
    else:
        raise InputError(f"{path}: neither a directory with results nor a {ARCHIVE}; name the --out of a suite")


def _unpacked(archive: Path, folder: Path) -> Store:
    store = Store(folder)
    try:
        with pq.ParquetFile(archive) as file:
            if missing := {"key", *FILES} - set(file.schema_arrow.names):
                raise ValueError(f"column '{min(missing)}' is missing")
            left = MAX_BYTES
            for batch in file.iter_batches(batch_size=16, columns=["key", *FILES]):
                for row in batch.to_pylist():
                    directory = store.directory(row["key"] or "")
                    directory.mkdir(parents=True, exist_ok=True)
                    for name in FILES:
                        if row[name] is not None:
                            left -= (directory / name).write_text(row[name], encoding="utf-8")
                    if left < 0:
                        raise ValueError(f"more than {MAX_BYTES:,} characters")
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        raise InputError(f"{archive}: is not an archive of results ({' '.join(str(error).split())})") from None
    return store
