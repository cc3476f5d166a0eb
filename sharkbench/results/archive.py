"""An archive: a store's records in one small file, without models and logs; all tables and reports follow from it.

``store.parquet`` has a row per run; its columns hold the text of the run's files. Committed results are archives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sharkbench.errors import InputError
from sharkbench.files.durable import replacing, scratch_folder
from sharkbench.results.store import CODE, ENVIRONMENT, NOTES, RESULT, SPEC, SPEED, SPEED_ERROR, VERIFIED, Store

ARCHIVE = "store.parquet"
FILES = (SPEC, ENVIRONMENT, RESULT, CODE, VERIFIED, NOTES, SPEED, SPEED_ERROR)
LATER = frozenset({CODE, VERIFIED})
"""Columns that older archives do not have."""
MAX_BYTES = 1 << 30
"""Largest size of all texts together; more is refused, because a small file can repeat a long text many times."""
MAX_GROUP_BYTES = 1 << 28
"""Largest size of a row group, with every distinct text counted once."""
ROWS = 2000
"""Rows of a row group; the texts of a run have about twenty thousand bytes."""


def write_archive(store: Store, path: Path) -> None:
    """Write the records of all runs, atomically. Equal stores give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = store.keys()
    columns: dict[str, list[str | None]] = {"key": list(keys)}
    for name in FILES:
        columns[name] = [store.text(key, name) for key in keys]
    table = pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))
    with replacing(path) as partial:
        pq.write_table(table, partial, row_group_size=ROWS, compression="zstd", compression_level=6)


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store at ``path``: an output directory with runs, an output directory with an archive only, or an archive.

    Raises:
        InputError: ``path`` is none of these.
    """
    archive = path if path.is_file() else path / ARCHIVE
    if path.is_dir() and (path / "runs").is_dir():
        yield Store(path)
    elif archive.is_file():
        with scratch_folder() as folder:
            yield _unpacked(archive, folder)
    else:
        raise InputError(f"{path}: neither a directory with results nor a {ARCHIVE}; name the --out of a suite")


def _unpacked(archive: Path, folder: Path) -> Store:
    import pyarrow as pa  # takes a tenth of a second, and an unpacked store does not need it
    import pyarrow.parquet as pq

    store = Store(folder, origin=archive)
    try:
        with pq.ParquetFile(archive) as file:
            metadata = file.metadata
            columns = map(file.schema.column, range(len(file.schema)))
            texts = {column.path for column in columns if column.physical_type == "BYTE_ARRAY"}
            names = [name for name in ("key", *FILES) if name in texts & set(file.schema_arrow.names)]
            if missing := {"key", *FILES} - LATER - set(names):
                raise ValueError(f"column '{min(missing)}' is missing")
            for group in map(metadata.row_group, range(metadata.num_row_groups)):
                if sum(group.column(i).total_uncompressed_size for i in range(group.num_columns)) > MAX_GROUP_BYTES:
                    raise ValueError(f"more than {MAX_GROUP_BYTES:,} bytes in a row group")
        left = MAX_BYTES
        with pq.ParquetFile(archive, metadata=metadata, read_dictionary=names) as file:
            for batch in file.iter_batches(batch_size=16, columns=names):
                for row in range(batch.num_rows):
                    directory = store.directory(batch["key"][row].as_py() or "")
                    directory.mkdir(parents=True, exist_ok=True)
                    for name in names[1:]:
                        if (text := batch[name][row].as_py()) is not None:
                            left -= (directory / name).write_text(text, encoding="utf-8")
                            if left < 0:
                                raise ValueError(f"more than {MAX_BYTES:,} characters")
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        raise InputError(f"{archive}: is not an archive of results ({' '.join(str(error).split())})") from None
    return store
