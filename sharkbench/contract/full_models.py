"""Full-precision models that runs share: a folder each, loaded only where its files are as they were written."""

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
    """Whether there is a trained model in ``folder``; a damaged one is reported and does not count."""
    if not (folder / SEAL).exists():
        return False
    try:
        check(folder, (WEIGHTS, TRAINING))
    except Damaged as error:
        warnings.warn(f"{error}; the full-precision model is trained again", MadeAgain, stacklevel=3)
        return False
    return True


def load(folder: Path, model: Model) -> tuple[list[Epoch], TrainingCost]:
    """Load the stored weights into ``model``; returns the history and the cost of their training."""
    model.load_state_dict(load_file(folder / WEIGHTS))
    known = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    return [Epoch.model_validate(epoch) for epoch in known["history"]], TrainingCost.model_validate(known["cost"])


def keep(folder: Path, model: Model, history: list[Epoch], cost: TrainingCost) -> None:
    """Write a trained model. The seal is written last: its presence says that the folder is complete."""
    (folder / SEAL).unlink(missing_ok=True)
    with replacing(folder / WEIGHTS) as partial:
        save_file(model.state_dict(), partial)
    known = {"history": [epoch.model_dump() for epoch in history], "cost": cost.model_dump()}
    write_text(folder / TRAINING, json.dumps(known))
    seal(folder, (WEIGHTS, TRAINING))
