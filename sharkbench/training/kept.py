"""Files from which long work resumes after a kill: written atomically, named by their digest, checked when read."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from sharkbench.files.digests import Damaged, MadeAgain, compare, digest
from sharkbench.files.durable import replacing, sync

EVERY_SECONDS = 30.0
"""Seconds of work between two checkpoints, so that short work writes none."""
COST = 20
"""... and at least this many times the seconds that the last checkpoint took to write."""


class KeptState:
    """The newest checkpoint of one piece of work, the seconds of work so far, and when the next checkpoint is due.

    Args:
        stem: path without the digest and suffix of the file; its name depends on all that the work starts from.
        possible: whether checkpoints are possible; if not, nothing is read or written.
    """

    def __init__(self, stem: Path, possible: bool = True) -> None:
        self.stem, self.possible, self.every = stem, possible, EVERY_SECONDS
        self.file: Path | None = None
        self._began = self._saved = time.monotonic()
        self._earlier = self._cost = 0.0
        self._written = False

    @property
    def seconds(self) -> float:
        """Seconds of work, including those before a kill."""
        return self._earlier + time.monotonic() - self._began

    def began_before(self, seconds: float) -> None:
        """Record that the work has taken ``seconds`` already."""
        self._began -= seconds

    def resumed(self, seconds: float) -> None:
        """Record that the work resumes from a checkpoint written after ``seconds`` of work."""
        self._earlier, self._written = seconds, True

    def is_due(self) -> bool:
        """Whether the next checkpoint is due."""
        return self.possible and time.monotonic() >= self._saved + max(self.every, COST * self._cost)

    def is_long(self) -> bool:
        """Whether the work has been long enough to save its end as well."""
        return self.possible and (self._written or self._earlier > 0 or self.seconds >= self.every)

    def written_by(self, write: Callable[[], object]) -> None:
        """Write a checkpoint with ``write``. If the disk is full, the work continues without checkpoints."""
        started = time.monotonic()
        try:
            write()
            self._written = True
        except (OSError, RuntimeError):  # a full disk, which torch reports as a RuntimeError: continue without
            self.possible = False
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def write(self, content: dict[str, Any]) -> None:
        """Write ``content``, tensors and plain values, as a checkpoint."""
        self.written_by(lambda: AtomicFile().save_checkpoint(content, self.stem))

    def read(self) -> dict[str, Any] | None:
        """The content of the newest undamaged checkpoint; its file is :attr:`file`. Damaged files are removed."""
        for file in reversed(kept(self.stem)) if self.possible else ():
            try:
                compare(file, file.stem.partition(".")[2])
                content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                content["sharkbench"]
            except Exception as error:  # torch raises many types of error for a file that is not our checkpoint
                why = str(error) if isinstance(error, Damaged) else f"{file} is no checkpoint"
                warnings.warn(f"{why}; the training does not go on from it", MadeAgain, stacklevel=2)
                file.unlink(missing_ok=True)
                continue
            self.file = file
            return content
        return None


def kept(stem: Path) -> list[Path]:
    """Files of one training, the newest last; each name contains the digest of the file's bytes.

    There is more than one only after a kill between writing the new file and removing the old one.
    """
    return sorted(stem.parent.glob(f"{stem.name}.*.pt"), key=lambda file: file.stat().st_mtime_ns)


class AtomicFile(TorchCheckpointIO):
    """Writes a checkpoint to disk atomically and removes the previous one; reads only tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        stem = Path(path)
        stem.parent.mkdir(parents=True, exist_ok=True)
        earlier = kept(stem)
        new = stem.with_name(f"{stem.name}.new")
        with replacing(new) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)
        named = stem.with_name(f"{stem.name}.{digest(new)}.pt")
        new.replace(named)
        sync(stem.parent)
        for one in earlier:
            if one != named:
                one.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return content
