"""What methods do to a trained model: passes over the data whose cost is counted, and fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sharkbench.contract.workbench import Workbench
from sharkbench.formats.codec import FloatName
from sharkbench.model.model import Model
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.kept import keep_fields, rows_of
from sharkbench.tables.masked import MaskedRows

if TYPE_CHECKING:
    from lightning.pytorch import Callback

Retrain = Literal["initial", "continue", "none"]
"""What follows pruning: training from the initial table and a fresh backbone, fine-tuning what is left, or nothing."""


@contextmanager
def counted(bench: Workbench, samples: int) -> Iterator[None]:
    """What happens within it over ``samples`` samples is part of the run's training cost; training counts itself."""
    with bench.loop("pass") as loop:
        loop.count(samples)
        yield


def device_of(bench: Workbench) -> torch.device:
    """Where the recipe trains."""
    return bench.device


def fine_tune(
    bench: Workbench,
    model: Model,
    *,
    stage: str,
    epochs: int,
    learning_rate_factor: float,
    callbacks: Sequence[Callback] = (),
) -> float:
    """Train ``model`` further in place, gently; if no validation beats its start, it is left as it was.

    Small data sets overfit within an epoch or two, so that training on can only hurt there: the start competes.

    Args:
        epochs: at most so many; none leaves the model alone.
        learning_rate_factor: times the learning rates of the recipe.

    Returns:
        The primary metric of the model as left, on validation, mean over labels.
    """
    before = bench.value(model)
    if epochs == 0:
        return before
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    changes: dict[str, Any] = {"epochs": epochs, "learning_rate": bench.recipe.learning_rate * learning_rate_factor}
    if bench.recipe.embedding_learning_rate is not None:
        changes["embedding_learning_rate"] = bench.recipe.embedding_learning_rate * learning_rate_factor
    report = bench.train(model, stage=stage, callbacks=callbacks, **changes)
    after = bench.metric.mean(report.history[report.best_epoch - 1].valid)
    if bench.metric.score(after) > bench.metric.score(before):
        return after
    model.load_state_dict(start)
    return before


def retrain_on_mask(
    bench: Workbench,
    model: Model,
    table: Tensor,
    mask: Tensor,
    *,
    how: Retrain,
    epochs: int,
    learning_rate_factor: float,
    values: FloatName = "fp32",
) -> Model:
    """A model on the numbers that ``mask`` keeps; what they are worth before and after is noted as ``retraining``.

    Args:
        model: what was pruned.
        table: ``[R, width]``, the rows of its embedding.
        mask: ``[R, width]`` bool.
        epochs: of fine-tuning, at most.
        learning_rate_factor: of fine-tuning, times the learning rates of the recipe.
        values: what a kept number is stored as.
    """
    fields = model.embedding.fields

    def masked(rows: Tensor) -> EmbeddingLayer:
        return bench.table(MaskedRows(bench.schema, fields, rows, mask, values=values))

    pruned = Model(masked(table), model.backbone)
    before = bench.value(pruned)
    if how == "initial":
        pruned = bench.model(masked(rows_of(keep_fields(bench.full_table(), fields))))
        bench.train(pruned, stage="retrain")
        after = bench.value(pruned)
    else:
        after = fine_tune(
            bench,
            pruned,
            stage="fine-tune",
            epochs=epochs if how == "continue" else 0,
            learning_rate_factor=learning_rate_factor,
        )
    name = bench.metric.name
    bench.note("retraining", [{"retrain": how, f"{name}_before": before, f"{name}_after": after}])
    return pruned
