"""Where prepared data lies, and the fingerprint that names it. Light: no torch, no pyarrow."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sharkbench.data.columns import Columns
from sharkbench.data.spec import BarsSpec, HubSpec

ENCODER_VERSION = 1
"""Part of every fingerprint; goes up whenever the same input would be encoded differently."""


def default_cache_dir() -> Path:
    """``$SHARKBENCH_CACHE``, else ``~/.cache/sharkbench``."""
    return Path(os.environ.get("SHARKBENCH_CACHE") or "~/.cache/sharkbench").expanduser()


def fingerprint(spec: Columns, cache_dir: Path | None = None) -> str:
    """64 hex digits that change with the source's bytes, the settings and the encoder, not with names or places.

    Raises:
        InputError: a file is missing.
    """
    cache_dir = cache_dir or default_cache_dir()
    settings = spec.model_dump(mode="json", exclude={"name", "path"})
    if not spec.weight:  # what was prepared before there was such a key is still the same
        del settings["weight"]
    if (
        spec.files()
        and "split" in settings
        and settings["split"]["kind"] == "given"
        and not settings["split"]["column"]
    ):
        settings["split"] = {k: v for k, v in settings["split"].items() if k not in ("train", "valid", "test")}
        settings["split"]["parts"] = getattr(spec.split, "valid", None) is not None
    if isinstance(spec, HubSpec | BarsSpec) and not spec.files():
        settings["commit"] = _hub_commit(spec, cache_dir)
    content = [_digest(file, cache_dir) for file in spec.files()]
    text = json.dumps([ENCODER_VERSION, settings, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """All of ``text`` or nothing, whoever else writes or reads at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text)
    scratch.replace(path)


def _digest(file: Path, cache_dir: Path) -> str:
    """SHA-256 of a file's bytes, remembered by path, size and time of change so that a large file is read once."""
    file = file.resolve()
    state = file.stat()
    key: dict[str, Any] = {"path": str(file), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    memory = cache_dir / "digests" / f"{hashlib.sha256(str(file).encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(memory.read_text())
        if {k: known[k] for k in key} == key:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not remembered, or not readable: compute it
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    write_atomically(memory, json.dumps({**key, "sha256": digest}))
    return digest


def _hub_commit(spec: HubSpec | BarsSpec, cache_dir: Path) -> str:
    """The commit that the spec's revision stands for now; the last one seen where the hub cannot be reached."""
    identity = spec.id if isinstance(spec, HubSpec) else spec.hub_id
    if len(spec.revision) == 40:
        return spec.revision
    memory = cache_dir / "hub" / f"{hashlib.sha256(f'{identity}@{spec.revision}'.encode()).hexdigest()[:32]}.json"
    try:
        from huggingface_hub import HfApi

        commit = HfApi().dataset_info(identity, revision=spec.revision, timeout=10).sha
        write_atomically(memory, json.dumps({"id": identity, "revision": spec.revision, "commit": commit}))
    except Exception:  # offline, or no such data set: reading it will say which
        if not memory.is_file():
            return spec.revision
        commit = json.loads(memory.read_text())["commit"]
    return str(commit)
