"""A long training goes on where it was when it was killed, and ends as if nothing had happened, to the bit.

A checkpoint is found by a digest of everything that the training starts from: weights, settings, data, seed, random
numbers. So a training resumes only from its own earlier self. What it has changed meanwhile is kept: tensors, the
optimizer, plain values and random generators of the layers and callbacks. Where something else has changed too (a
callback with an optimizer of its own, say) nothing is kept, and such a training starts anew.

A finished training is kept as well, because a method with several stages does all of them again after a kill.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from sharkbench.data.loader import BatchStream
from sharkbench.files.digests import Damaged, MadeAgain, compare, digest
from sharkbench.files.durable import replacing, sync
from sharkbench.results.records import Epoch
from sharkbench.training.module import CtrModule
from sharkbench.training.plain_state import (
    as_bytes,
    attributes,
    is_plain,
    leaves,
    may_hold,
    packed,
    parts_of,
    random_state,
    set_random_state,
    tensors_of,
    unpacked,
)

EVERY_SECONDS = 30.0
"""Seconds of training between two checkpoints, so that a short training writes none."""
COST = 20
"""... and at least so many times as long as the last one took to write."""
_OWN = "sharkbench"
_ABSENT = object()


@dataclass(frozen=True)
class Finished:
    """What a training that had ended left behind, besides the weights."""

    history: list[Epoch]
    best_epoch: int
    samples: int
    epochs: int
    seconds: float


class Checkpoint(Callback):
    """Keeps the state of one training in a file, and gives it back.

    Args:
        folder: of the run's checkpoints; made when there is something to keep.
        module, callbacks, steps: all that the training consists of. ``module`` has ``model``, ``history``, ``samples``.
        start: plain values that decide the training besides (settings, fingerprint of the data, seed).
    """

    def __init__(
        self,
        folder: Path,
        module: CtrModule,
        callbacks: Sequence[Callback],
        steps: BatchStream,
        *,
        start: Any,
    ) -> None:
        self.module, self.callbacks, self.steps, self.every = module, list(callbacks), steps, EVERY_SECONDS
        self.parts = parts_of(module, callbacks)
        self.fixed = {place: value for place, value in attributes(self.parts) if not is_plain(value)}
        self.possible = all(may_hold(part, value) for (part, _), value in self.fixed.items())
        self.stem = folder / self._digest(start) if self.possible else folder / "none"
        self.began = self.saved = time.monotonic()
        self.earlier = self.cost = 0.0
        self.written = False
        self._file: Path | None = None
        self._random: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Of training, those before the kill included."""
        return self.earlier + time.monotonic() - self.began

    def resumable(self) -> Path | None:
        """The file to resume from, if there is one that is as it was written; a damaged one is removed."""
        content = self._read()
        return self._file if content is not None and "finished" not in content else None

    def finished(self) -> Finished | None:
        """What a training that has ended already came to, its model as it was left; ``None`` if it has not."""
        content = self._read()
        if content is None or "finished" not in content:
            return None
        self.module.model.load_state_dict(content["model"])
        self._restore(content[_OWN])
        set_random_state(content[_OWN]["random"])
        told = content["finished"]
        return Finished(**{**told, "history": [Epoch.model_validate(epoch) for epoch in told["history"]]})

    def finish(self, done: Finished) -> None:
        """Keep the end of the training too, if it was long enough to have been kept before."""
        if self.possible and self._is_fixed() and (self.written or self.earlier or self.seconds >= self.every):
            told = {**vars(done), "history": [epoch.model_dump() for epoch in done.history]}
            model = self.module.model.state_dict()
            self._write({"finished": told, "model": model, _OWN: self._state()})

    # Hooks of the trainer ------------------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        last = trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        due = time.monotonic() >= self.saved + max(self.every, COST * self.cost)
        if self.possible and due and not last and self._is_fixed():
            started = time.monotonic()
            try:
                trainer.save_checkpoint(self.stem)
                self.written = True
            except (OSError, RuntimeError):  # a full disk, which torch tells as a RuntimeError: do without
                self.possible = False
            self.saved = time.monotonic()
            self.cost = self.saved - started

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[_OWN] = self._state()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own = checkpoint[_OWN]
        self.module.history = [Epoch.model_validate(epoch) for epoch in own["history"]]
        # Lightning begins a pass that it does not use when it starts, and does so again now.
        unused = own["passes"] - checkpoint["epoch"] - 1
        self.steps.set_epoch(own["passes"] - unused)
        self.earlier, self.written, self._random = own["seconds"], True, own["random"]
        self._own = own

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._random is not None:
            # Not before: what comes between loading and here moves layers, sets modes, and may draw.
            self._restore(self._own)
            set_random_state(self._random)
            self._random = None

    # What is kept --------------------------------------------------------------------------------------------------

    def _digest(self, start: Any) -> str:
        digest = hashlib.blake2b(digest_size=16)
        told = [start, torch.__version__, {**random_state(), "torch": None, "cuda": None}]
        digest.update(json.dumps(told, sort_keys=True).encode())
        for name, part in self.parts.items():
            digest.update(f"{name} {type(part).__module__}.{type(part).__qualname__}".encode())
        for (part_name, name), value in attributes(self.parts):
            if is_plain(value):
                digest.update(f"{part_name}.{name}".encode())
                for leaf in leaves(value):
                    digest.update(as_bytes(leaf))
        for name, tensor in tensors_of(self.module):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(as_bytes(tensor))
        return digest.hexdigest()

    def _is_fixed(self) -> bool:
        """Whether nothing has changed but what is kept."""
        parts = parts_of(self.module, self.callbacks)
        changed = {place: value for place, value in attributes(parts) if not is_plain(value)}
        return parts.keys() == self.parts.keys() and all(
            self.fixed.get(place, _ABSENT) is value for place, value in changed.items()
        )

    def _state(self) -> dict[str, Any]:
        values: dict[str, dict[str, Any]] = {}
        for (part, name), value in attributes(self.parts):
            if is_plain(value):
                values.setdefault(part, {})[name] = packed(value)
        kept = self.module.state_dict().keys()
        return {
            "history": [epoch.model_dump() for epoch in self.module.history],
            "passes": self.steps.epoch,
            "seconds": self.seconds,
            "random": random_state(),
            "values": values,
            # Those that no state_dict has; the others are kept already.
            "buffers": {name: tensor.detach().cpu() for name, tensor in tensors_of(self.module) if name not in kept},
        }

    def _restore(self, own: dict[str, Any]) -> None:
        for part, values in own["values"].items():
            for name, value in values.items():
                setattr(self.parts[part], name, unpacked(value))
        known = dict(tensors_of(self.module))
        with torch.no_grad():
            for name, tensor in own["buffers"].items():
                known[name].copy_(tensor)

    def _read(self) -> dict[str, Any] | None:
        """The newest file that is as it was written."""
        for file in reversed(kept(self.stem)) if self.possible else ():
            try:
                compare(file, file.stem.partition(".")[2])
                content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                content[_OWN]
            except Exception as error:  # what is no checkpoint of ours: torch says so in many ways
                why = str(error) if isinstance(error, Damaged) else f"{file} is no checkpoint"
                warnings.warn(f"{why}; the training does not go on from it", MadeAgain, stacklevel=2)
                file.unlink(missing_ok=True)
                continue
            self._file = file
            return content
        return None

    def _write(self, content: dict[str, Any]) -> None:
        try:
            AtomicFile().save_checkpoint(content, self.stem)
        except (OSError, RuntimeError):
            self.possible = False


def kept(stem: Path) -> list[Path]:
    """Files of one training, the newest last: the name of each has the digest of its bytes.

    There is more than one only where a kill came between the writing of one and the removal of the other.
    """
    return sorted(stem.parent.glob(f"{stem.name}.*.pt"), key=lambda file: file.stat().st_mtime_ns)


class AtomicFile(TorchCheckpointIO):
    """Writes a checkpoint straight to disk, whole or not at all, and removes the one before; reads only tensors and
    plain values."""

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
