"""Checkpoints: a long training resumes after a kill, with a result that is bit-identical to an uninterrupted one.

A checkpoint is found by a digest of everything that the training starts from: weights, settings, data, seed, state of
the random number generators. So a training resumes only from its own checkpoint. A checkpoint holds what has changed
since the start: tensors, the optimizer, plain values and random generators of the layers and callbacks. If anything
else has changed (a callback with its own optimizer, for example), nothing is saved, and such a training starts again.

A finished training is saved as well, because a method with several stages repeats all of them after a kill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from sharkbench.data.loader import BatchStream
from sharkbench.results.records import Epoch
from sharkbench.training.kept import KeptState
from sharkbench.training.module import CtrModule
from sharkbench.training.plain_state import (
    Unkept,
    as_bytes,
    attributes,
    contents,
    holds_state,
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

_OWN = "sharkbench"
_ABSENT = object()


@dataclass(frozen=True)
class Finished:
    """The saved results of a finished training, besides the weights."""

    history: list[Epoch]
    best_epoch: int
    samples: int
    epochs: int
    seconds: float


class Checkpoint(Callback):
    """Saves the state of one training to a file, and restores it.

    Args:
        folder: folder of the run's checkpoints; created when there is something to save.
        module, callbacks, steps: the components of the training. ``module`` has ``model``, ``history``, ``samples``.
        start: further plain values that determine the training (settings, fingerprint of the data, seed).
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
        self.module, self.callbacks, self.steps = module, list(callbacks), steps
        own = module.overrides.functions()
        self.own = {name: one for name, one in own.items() if holds_state(one)}
        self.functions = {name: one for name, one in own.items() if name not in self.own}
        self.parts = parts_of(module, callbacks, self.own)
        self.fixed = {place: value for place, value in attributes(self.parts) if not is_plain(value)}
        self.trained = {id(part) for part in module.modules()} | {id(tensor) for _, tensor in tensors_of(module)}
        self.code = self._code()
        possible = self.code is not None and all(
            may_hold(part, value, self.trained) for (part, _), value in self.fixed.items()
        )
        self.kept = KeptState(folder / (self._digest(start) if possible else "none"), possible)
        self._random: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training, including those before a kill."""
        return self.kept.seconds

    def resumable(self) -> Path | None:
        """The file to resume from, if there is an undamaged one; a damaged file is removed."""
        content = self.kept.read()
        return self.kept.file if content is not None and "finished" not in content else None

    def finished(self) -> Finished | None:
        """The results of a training that had finished, with its model restored; ``None`` if it had not."""
        content = self.kept.read()
        if content is None or "finished" not in content:
            return None
        self.module.model.load_state_dict(content["model"])
        self._restore(content[_OWN])
        set_random_state(content[_OWN]["random"])
        told = content["finished"]
        return Finished(**{**told, "history": [Epoch.model_validate(epoch) for epoch in told["history"]]})

    def finish(self, done: Finished) -> None:
        """Save the end of the training too, if it was long enough for checkpoints."""
        if self.kept.is_long() and self._is_fixed():
            told = {**vars(done), "history": [epoch.model_dump() for epoch in done.history]}
            model = self.module.model.state_dict()
            self.kept.write({"finished": told, "model": model, _OWN: self._state()})

    # Hooks of the trainer ------------------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        last = trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        if not last and self.kept.is_due() and self._is_fixed():
            self.kept.written_by(lambda: trainer.save_checkpoint(self.kept.stem))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[_OWN] = self._state()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own = checkpoint[_OWN]
        self.module.history = [Epoch.model_validate(epoch) for epoch in own["history"]]
        # When it starts, Lightning begins a pass that it does not use, and does so again on resuming.
        unused = own["passes"] - checkpoint["epoch"] - 1
        self.steps.set_epoch(own["passes"] - unused)
        self.kept.resumed(own["seconds"])
        self._random = own["random"]
        self._own = own

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._random is not None:
            # Not earlier: the code between loading and here moves layers, sets modes, and may draw random numbers.
            self._restore(self._own)
            set_random_state(self._random)
            self._random = None

    # What is kept --------------------------------------------------------------------------------------------------

    def _digest(self, start: Any) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.code or b"")
        teacher = self.module.overrides.teacher
        for name, tensor in tensors_of(teacher) if teacher is not None else ():
            digest.update(f"teacher.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(as_bytes(tensor))
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

    def _code(self) -> bytes | None:
        """Digest of the method's own functions and of the settings that they hold; ``None`` if one holds state that may
        not be saved."""
        digest = hashlib.blake2b(digest_size=16)
        try:
            for name, function in self.functions.items():
                digest.update(name.encode())
                for leaf in contents(function, self.trained):
                    digest.update(as_bytes(leaf))
        except Unkept:
            return None
        return digest.digest()

    def _is_fixed(self) -> bool:
        """Whether only saved state has changed."""
        parts = parts_of(self.module, self.callbacks, self.own)
        changed = {place: value for place, value in attributes(parts) if not is_plain(value)}
        same = parts.keys() == self.parts.keys() and all(
            self.fixed.get(place, _ABSENT) is value for place, value in changed.items()
        )
        return same and self._code() == self.code

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
            # Tensors that no state_dict has; the others are saved already.
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
