"""Resolves a revision of a data set on the Hugging Face hub to a commit."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from sharkbench.files.durable import write_text


def commit_of(identity: str, revision: str, cache_dir: Path) -> str:
    """The current commit of ``revision``; the last one seen if the hub cannot be reached.

    Args:
        identity: ``owner/name`` on the hub.
        cache_dir: cache of the commits seen.
    """
    if len(revision) == 40:
        return revision
    memory = cache_dir / "hub" / f"{hashlib.sha256(f'{identity}@{revision}'.encode()).hexdigest()[:32]}.json"
    try:
        from huggingface_hub import HfApi

        commit = HfApi().dataset_info(identity, revision=revision, timeout=10).sha
        with contextlib.suppress(OSError):  # an unwritable cache only means that the commit is unknown offline
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_text(memory, json.dumps({"id": identity, "revision": revision, "commit": commit}))
    except Exception:  # offline, or no such data set: reading it will report which
        if not memory.is_file():
            return revision
        commit = json.loads(memory.read_text())["commit"]
    return str(commit)
