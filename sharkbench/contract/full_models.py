"""Full-precision models that runs share: a folder each, believed only where it is as it was written."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from safetensors.torch import load_file, save_file

from sharkbench.files.digests import SEAL, Damaged, MadeAgain, check, seal
from sharkbench.files.durable import replacing, write_text
from sharkbench.model.model import Model
from sharkbench.results.records import Epoch, TrainingCost

WEIGHTS, TRAINING = "model.safetensors", "training.json"


def kept(folder: Path) -> bool:
    """Whether there is a trained model in ``folder``; one that is damaged is told of and is none."""
    if not (folder / SEAL).exists():
        return False
    try:
        check(folder, (WEIGHTS, TRAINING))
    except Damaged as error:
        warnings.warn(f"{error}; the full-precision model is trained again", MadeAgain, stacklevel=3)
        return False
    return True


def load(folder: Path, model: Model) -> tuple[list[Epoch], TrainingCost]:
    """Give ``model`` the weights that were kept; returns what training them was like and what it cost."""
    model.load_state_dict(load_file(folder / WEIGHTS))
    known = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    return [Epoch.model_validate(epoch) for epoch in known["history"]], TrainingCost.model_validate(known["cost"])


def keep(folder: Path, model: Model, history: list[Epoch], cost: TrainingCost) -> None:
    """Write a trained model. The seal comes last: its presence says that all of it is there."""
    (folder / SEAL).unlink(missing_ok=True)
    with replacing(folder / WEIGHTS) as partial:
        save_file(model.state_dict(), partial)
    known = {"history": [epoch.model_dump() for epoch in history], "cost": cost.model_dump()}
    write_text(folder / TRAINING, json.dumps(known))
    seal(folder, (WEIGHTS, TRAINING))
