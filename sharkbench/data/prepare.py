"""Prepares an encoded data set from raw data: once per fingerprint, atomically, safe with concurrent processes.

Three passes: read and code every value into a scratch file, count the training values, encode (see
:mod:`sharkbench.data.scan` and :mod:`sharkbench.data.encode`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharkbench.data.cache import default_cache_dir, fingerprint
from sharkbench.data.columns import Columns
from sharkbench.errors import ArtifactError, DataError, StorageError, printable
from sharkbench.files.digests import Damaged, MadeAgain, check, seal
from sharkbench.files.durable import no_room, rename_folder
from sharkbench.keys.closure import Snapshot

if TYPE_CHECKING:
    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.data.samples import SplitName

__all__ = ["default_cache_dir", "fingerprint", "open_prepared", "prepare", "prepared_path"]

_SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
_ABOUT, _VOCABULARY = "dataset.json", "vocabulary.arrow"
_MAKING = ".making-"
"""Stands between the name of a folder and the ID of the process that writes it."""


def prepared_path(spec: Columns, cache_dir: Path | None = None) -> Path:
    """Folder of the prepared data set, whether or not it exists. Its name also depends on the code that reads and
    encodes."""
    cache_dir = cache_dir or default_cache_dir()
    return _folder_of(spec, fingerprint(spec, cache_dir), cache_dir)


def _folder_of(spec: Columns, digest: str, cache_dir: Path) -> Path:
    code = Snapshot(cache_dir / "code").digest((__name__, type(spec).__module__))
    return cache_dir / "prepared" / hashlib.sha256(f"{digest} {code}".encode()).hexdigest()[:32]


def _is_within(name: object, folder: Path) -> bool:
    return isinstance(name, str) and Path(name).absolute().is_relative_to(folder.absolute())


def prepare(
    spec: Columns, cache_dir: Path | None = None, progress: bool = True, splits: Sequence[SplitName] = _SPLITS
) -> PreparedDataset:
    """The encoded data set of ``spec``, from the cache or prepared now.

    Concurrent processes prepare it once. Its files are checked against their digests once per process; a damaged file
    is reported as a :class:`~sharkbench.files.digests.MadeAgain` warning, and all files are written again. ``progress``
    shows bars on a terminal; only ``splits`` are opened.

    Raises:
        DataError: the input is malformed (the message names file and row), or it changes while it is read.
        InputError: a file is missing.
        StorageError: the cache is full or cannot be written to.
    """
    cache_dir = cache_dir or default_cache_dir()
    digest = fingerprint(spec, cache_dir)
    path = _folder_of(spec, digest, cache_dir)
    try:
        found = _kept(path, splits) or _made(spec, digest, path, splits, progress)
    except OSError as error:
        if not (no_room(error) or _is_within(error.filename, cache_dir)):
            raise
        raise StorageError(
            f"{cache_dir}: prepared data cannot be written there ({error.strerror or error}); make room, or name "
            "another folder with --cache or SHARKBENCH_CACHE"
        ) from None
    return dataclasses.replace(found, name=spec.name)


def _kept(path: Path, splits: Sequence[SplitName]) -> PreparedDataset | None:
    """The data set in the cache, if it is there and undamaged."""
    try:
        return open_prepared(path, splits) if path.is_dir() else None
    except ArtifactError:
        return None


def _made(spec: Columns, digest: str, path: Path, splits: Sequence[SplitName], progress: bool) -> PreparedDataset:
    """The data set that another process has written meanwhile, or that this one writes (first use, or damage)."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        _sweep(path)
        scratch = path.parent / f"{path.name}{_MAKING}{os.getpid()}"
        if path.is_dir():
            try:
                return open_prepared(path, splits)
            except ArtifactError as error:
                why = str(error).split("; ")[0]
                warnings.warn(f"{why}; data set '{spec.name}' is prepared again", MadeAgain, stacklevel=3)
                path.rename(scratch)  # a name that is swept if this process dies while removing it
                shutil.rmtree(scratch)
        scratch.mkdir()
        try:
            _make(spec, scratch, digest, progress)
            if fingerprint(spec, path.parent.parent, afresh=True) != digest:
                raise DataError(
                    f"data set '{spec.name}': its files have changed while they were read; wait until they are "
                    "written, and run again"
                )
            seal(scratch, [file.name for file in scratch.iterdir()])
            rename_folder(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return open_prepared(path, splits)


def _sweep(path: Path) -> None:
    """Remove leftovers of dead processes: of this data set, whose lock is held, and of others that nobody works on."""
    from filelock import FileLock, Timeout

    for leftover in path.parent.glob(f"*{_MAKING}*"):
        other = path.parent / leftover.name.partition(_MAKING)[0]
        try:
            with contextlib.nullcontext() if other == path else FileLock(other.with_suffix(".lock"), timeout=0):
                shutil.rmtree(leftover, ignore_errors=True)
        except Timeout:
            continue


def open_prepared(path: Path, splits: Sequence[SplitName] = _SPLITS) -> PreparedDataset:
    """Open a prepared data set, memory-mapped; only ``splits`` are opened.

    Raises:
        ArtifactError: ``path`` has no data set or a damaged one; the message names the file.
    """
    try:
        check(path, [*(f"{name}.arrow" for name in splits), _VOCABULARY, _ABOUT])
    except Damaged as error:
        raise ArtifactError(f"{error}; delete the folder and prepare it again") from None
    return _opened(path, splits)


def _opened(path: Path, splits: Sequence[SplitName]) -> PreparedDataset:
    from pyarrow.lib import ArrowException

    from sharkbench.data.arrow import open_frequencies, open_split
    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.data.schema import Schema

    try:
        meta = json.loads((path / _ABOUT).read_text())
        schema = Schema.from_json(meta["schema"], open_frequencies(path / _VOCABULARY))
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
    from sharkbench.data.splits import assign

    source = spec.open()
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
    (folder / _ABOUT).write_text(json.dumps(meta, indent=1))
    made = _opened(folder, _SPLITS)
    meta["summary"]["warnings"] = [
        *remarks,
        *leaks(made.schema, made.splits),
        *oddities(made.schema, made.splits),
    ]
    (folder / _ABOUT).write_text(json.dumps(meta, indent=1))
    for suspicion in meta["summary"]["warnings"]:
        warnings.warn(f"data set '{spec.name}': {printable(suspicion)}", stacklevel=4)
