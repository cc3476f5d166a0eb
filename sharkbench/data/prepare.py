"""Raw data in, encoded data set out: once per fingerprint, atomically, whoever else is at it.

Three passes: read and code every value into a scratch file, count the training values, encode (see
:mod:`sharkbench.data.scan` and :mod:`sharkbench.data.encode`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharkbench.closure import Snapshot
from sharkbench.data.cache import default_cache_dir, fingerprint
from sharkbench.data.columns import Columns
from sharkbench.errors import ArtifactError, printable

if TYPE_CHECKING:
    from sharkbench.data.dataset import PreparedDataset, SplitName

__all__ = ["default_cache_dir", "fingerprint", "open_prepared", "prepare", "prepared_path"]

_SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


def prepared_path(spec: Columns, cache_dir: Path | None = None) -> Path:
    """Folder of the prepared data set, whether it is there already or not: of the data as the present code reads and
    encodes it."""
    cache_dir = cache_dir or default_cache_dir()
    code = Snapshot(cache_dir / "code").digest((__name__, spec.reader.partition(":")[0]))
    return cache_dir / "prepared" / hashlib.sha256(f"{fingerprint(spec, cache_dir)} {code}".encode()).hexdigest()[:32]


def prepare(
    spec: Columns, cache_dir: Path | None = None, progress: bool = True, splits: Sequence[SplitName] = _SPLITS
) -> PreparedDataset:
    """The encoded data set of ``spec``, made unless it is in the cache.

    Two processes that ask at once make it once. ``progress`` shows bars on a terminal; only ``splits`` are opened.

    Raises:
        DataError: the input is malformed; the message names file and row.
        InputError: a file is missing.
    """
    from filelock import FileLock

    cache_dir = cache_dir or default_cache_dir()
    path = prepared_path(spec, cache_dir)
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            for left_over in path.parent.glob(f"{path.name}.making-*"):  # nobody else holds the lock: its maker is dead
                shutil.rmtree(left_over, ignore_errors=True)
            if not path.is_dir():
                scratch = path.parent / f"{path.name}.making-{os.getpid()}"
                scratch.mkdir()
                try:
                    _make(spec, scratch, fingerprint(spec, cache_dir), progress)
                    scratch.rename(path)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    return dataclasses.replace(open_prepared(path, splits), name=spec.name)


def open_prepared(path: Path, splits: Sequence[SplitName] = _SPLITS) -> PreparedDataset:
    """A prepared data set, memory-mapped; ``splits`` of it are opened, the others stay out of reach.

    Raises:
        ArtifactError: ``path`` holds none, or a damaged one.
    """
    from pyarrow.lib import ArrowException

    from sharkbench.data.arrow import open_frequencies, open_split
    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.data.schema import Schema

    path = Path(path)
    try:
        meta = json.loads((path / "dataset.json").read_text())
        schema = Schema.from_json(meta["schema"], open_frequencies(path / "vocabulary.arrow"))
        return PreparedDataset(
            name=meta["name"],
            path=path,
            fingerprint=meta["fingerprint"],
            schema=schema,
            summary=meta["summary"],
            splits={name: open_split(path / f"{name}.arrow") for name in splits},
        )
    except (OSError, ValueError, KeyError, TypeError, StopIteration, ArrowException) as error:
        raise ArtifactError(
            f"{path}: not a prepared data set ({error}); delete the folder and prepare it again"
        ) from None


def _make(spec: Columns, folder: Path, digest: str, progress: bool) -> None:
    from sharkbench.data.encode import count, encode
    from sharkbench.data.leaks import leaks
    from sharkbench.data.oddities import oddities
    from sharkbench.data.progress import bars
    from sharkbench.data.scan import scan
    from sharkbench.data.sources import open_source
    from sharkbench.data.splits import assign

    source = open_source(spec)
    scratch = folder / "scan.arrow"
    with bars(f"Preparing {spec.name}", progress) as stage:
        scanned = scan(spec, source, scratch, stage("reading"))
        parts = assign(spec, scanned)
        encoders, groups = count(spec, scanned, parts, stage("counting"))
        written = encode(
            scanned, parts, encoders, groups, [label.name for label in spec.labels], folder, stage("encoding")
        )
    scratch.unlink()
    written["summary"] |= {"split": spec.split.kind, "source": getattr(spec, "source", ""), **source.summary(parts)}
    remarks = [*scanned.remarks, *written.pop("remarks")]
    meta: dict[str, Any] = {"name": spec.name, "fingerprint": digest, **written}
    (folder / "dataset.json").write_text(json.dumps(meta, indent=1))
    made = open_prepared(folder)
    meta["summary"]["warnings"] = [
        *remarks,
        *leaks(made.schema, made.splits),
        *oddities(made.schema, made.splits),
    ]
    (folder / "dataset.json").write_text(json.dumps(meta, indent=1))
    for suspicion in meta["summary"]["warnings"]:
        warnings.warn(f"data set '{spec.name}': {printable(suspicion)}", stacklevel=3)
