"""The cache of prepared data and the fingerprint that names its folders. Light: no torch, no pyarrow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from sharkbench.data.columns import Columns
from sharkbench.data.options import GivenSplit
from sharkbench.errors import DataError
from sharkbench.files.digests import SETTLED
from sharkbench.files.durable import write_text
from sharkbench.keys.stated import stated


def default_cache_dir() -> Path:
    """``$SHARKBENCH_CACHE``, else ``~/.cache/sharkbench``."""
    return Path(os.environ.get("SHARKBENCH_CACHE") or "~/.cache/sharkbench").expanduser()


def fingerprint(spec: Columns, cache_dir: Path | None = None, *, afresh: bool = False) -> str:
    """Fingerprint of 64 hex digits; it depends on the source's bytes and the settings, not on names, paths or the code.

    Args:
        afresh: read every file again, including those that seem unchanged since they were last read.

    Raises:
        InputError: a file is missing.
        DataError: a file changes while it is read.
    """
    cache_dir = cache_dir or default_cache_dir()
    settings = {key: value for key, value in stated(spec).items() if key not in ("name", "path")}
    if spec.files() and isinstance(spec.split, GivenSplit) and not spec.split.column:
        by_file = {key: value for key, value in stated(spec.split).items() if key not in ("train", "valid", "test")}
        settings["split"] = {**by_file, "parts": spec.split.valid is not None}
    if commit := spec.commit(cache_dir):
        settings["commit"] = commit
    content = [_digest(file, cache_dir, afresh) for file in spec.files()]
    text = json.dumps([settings, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(file: Path, cache_dir: Path, afresh: bool = False) -> str:
    """SHA-256 of a file's bytes, cached by path and state so that a large file is read once.

    The state includes the inode and the time of its last change (``ctime``), which cannot be set: a file that replaced
    another, or that was written in place and given its old time again, is read again. So is a file that was changed so
    shortly before it was read that a later change might have the same times.
    """
    file = file.resolve()
    memory = cache_dir / "digests" / f"{hashlib.sha256(str(file).encode()).hexdigest()[:32]}.json"
    if not afresh:
        try:
            known = json.loads(memory.read_text())
            if known["state"] == _state(file):
                return str(known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not cached, or not readable: compute it
    state, began = _state(file), time.time()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if _state(file) != state:
        raise DataError(f"{file}: changes while it is read; wait until it is written, and run again")
    if began - state["ctime_ns"] / 1e9 > SETTLED:
        _remember(memory, {"path": str(file), "state": state, "sha256": digest})
    return digest


def _state(file: Path) -> dict[str, int]:
    found = file.stat()
    names = ("ino", "size", "mtime_ns", "ctime_ns")
    return {name: int(getattr(found, f"st_{name}")) for name in names}


def _remember(memory: Path, known: dict[str, Any]) -> None:
    """Cache the digests for the next call. If the cache cannot be written to, the next call only takes longer."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, json.dumps(known))
