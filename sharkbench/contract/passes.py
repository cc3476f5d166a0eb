"""Operations on a trained model: passes over the data whose cost is counted, fine-tuning, retraining on a mask."""

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
"""What follows pruning: retraining from the initial table with a new backbone, fine-tuning the rest, or nothing."""


@contextmanager
def counted(bench: Workbench, samples: int) -> Iterator[None]:
    """Adds its body, a pass over ``samples`` samples, to the run's training cost; training counts itself."""
    with bench.loop("pass") as loop:
        loop.count(samples)
        yield


def device_of(bench: Workbench) -> torch.device:
    """The device that the recipe trains on."""
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
    """Fine-tune ``model`` in place with lower learning rates; if no validation beats its start, it is left unchanged.

    Small data sets overfit within an epoch or two, where further training can only hurt; so the start competes.

    Args:
        epochs: at most so many; 0 leaves the model unchanged.
        learning_rate_factor: times the learning rates of the recipe.

    Returns:
        The primary metric of the resulting model on validation, mean over labels.
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
    """A model with the weights that ``mask`` keeps, retrained; notes its primary metric before and after, as
    ``retraining``.

    Args:
        model: the pruned model.
        table: ``[R, width]``, the rows of its embedding.
        mask: ``[R, width]`` bool, the weights that are kept.
        how: what follows pruning.
        epochs: of fine-tuning, at most.
        learning_rate_factor: of fine-tuning, times the learning rates of the recipe.
        values: data type that a kept weight is stored in.
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
