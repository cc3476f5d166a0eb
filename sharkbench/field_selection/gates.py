"""Gates per field: a scalar that multiplies all inputs of the field to the backbone, and two ways to learn it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from sharkbench.contract.workbench import Workbench
from sharkbench.data.loader import batches
from sharkbench.data.samples import Batch, Split
from sharkbench.formats.layer import PackedLayer
from sharkbench.model.model import Model
from sharkbench.seeds import derive
from sharkbench.tables.base import EmbeddingLayer


def endless(split: Split, batch_size: int, seed: int) -> Iterator[Batch]:
    """Shuffled batches without end; the order depends on ``seed`` alone.

    A last batch of one sample is left out, since it has no statistics for batch normalisation.
    """
    for epoch in count():
        for batch in batches(split, min(batch_size, len(split)), seed=seed, epoch=epoch):
            if len(batch.labels) > 1 or len(split) == 1:
                yield batch


def lasso_gates(bench: Workbench, model: Model, *, steps: int, step_size: float, floor: float) -> Tensor:
    """Proximal steps on ``L(g) + lambda ||g||_1`` over the gates ``g`` of a frozen trained model.

    ``lambda`` rises from ``floor`` times the largest slope that any gate has at zero to that slope, where the last gate
    closes. Steps are Adam's, and the threshold of the proximal map is scaled by the same metric. All constants are this
    project's own: Adam's means decay by 0.9 and 0.99, and the slope is computed where all gates are at 0.1.

    Returns:
        ``[F]``: mean magnitude of each gate over the steps; the later a gate closes, the larger.
    """
    task, device = bench.task, next(model.parameters()).device
    stream = endless(bench.dataset.splits["train"], bench.recipe.batch_size, derive(bench.seed, "lasso"))
    model.eval()

    def slope(gates: Tensor) -> Tensor:
        batch = next(stream).each(lambda column: column.to(device))
        with torch.no_grad():
            vectors = model.embedding(batch.ids)
        gates = gates.clone().requires_grad_()
        with torch.enable_grad():
            logits = model.backbone(vectors * gates[:, None], batch.dense)
            loss = task.loss(logits, batch.labels, batch.weight)
        return torch.autograd.grad(loss, gates)[0]

    fields = len(model.embedding.fields)
    # Not at zero itself: products of closed gates have zero gradient.
    largest = float(slope(torch.full((fields,), 0.1, device=device)).abs().max())
    gates, total = torch.ones(fields, device=device), torch.zeros(fields, device=device)
    mean, square = torch.zeros_like(gates), torch.zeros_like(gates)
    for step in range(1, steps + 1):
        weight = largest * floor ** (1 - step / steps)
        gradient = slope(gates)
        mean.lerp_(gradient, 0.1)
        square.lerp_(gradient.square(), 0.01)
        rate = step_size / ((square / (1 - 0.99**step)).sqrt() + 1e-8)
        moved = gates - rate * mean / (1 - 0.9**step)
        gates = moved.sign() * (moved.abs() - rate * weight).clamp(min=0)
        total += gates.abs()
    return total / steps


class GatedFields(EmbeddingLayer):
    """``g_f e_f``: each field of ``inner`` times a gate, sampled from a Gumbel-softmax over {drop, keep} in training.

    Ids ``[B, S]`` to vectors ``[B, F, W]``. ``logits`` ``[F, 2]`` is a buffer, not a parameter, so the model's
    optimizer does not update it. In evaluation the gate is the softmax without noise. Logits start at 0.5 and the
    temperature at 1, as in public code of AutoField. The layer serves a search only and cannot be packed.
    """

    def __init__(self, inner: EmbeddingLayer) -> None:
        super().__init__(inner.schema, inner.width, inner.fields)
        self.inner, self.temperature = inner, 1.0
        self.register_buffer("logits", torch.full((len(inner.fields), 2), 0.5))
        self.logits: Tensor

    def row_tables(self) -> list[nn.Parameter]:
        return self.inner.row_tables()

    def gates(self, logits: Tensor) -> Tensor:
        """``[F, 2]`` logits to ``[F, 1]`` gates."""
        if self.training:
            noise = -torch.empty_like(logits).exponential_().log()
            logits = (logits + noise) / self.temperature
        return logits.softmax(1)[:, 1:]

    def gated(self, vectors: Tensor, logits: Tensor) -> Tensor:
        """``[B, F, W]`` vectors of ``inner`` times the gates of ``logits``."""
        return vectors * self.gates(logits)

    def forward(self, ids: Tensor) -> Tensor:
        return self.gated(self.inner(ids), self.logits)

    def pack(self) -> PackedLayer:
        raise NotImplementedError("gates serve a search only")


class Gated(Protocol):
    """A layer whose gates :class:`GateSearch` can learn; :class:`GatedFields` is one."""

    inner: EmbeddingLayer
    logits: Tensor
    temperature: float

    def gated(self, vectors: Tensor, logits: Tensor) -> Tensor:
        """Output of the layer for the vectors ``[B, F, W]`` of ``inner`` with these logits."""


class GateSearch(Callback):
    """Every few training steps, one Adam step on the gates of a :class:`Gated` layer by a validation batch."""

    def __init__(self, bench: Workbench, *, every: int, learning_rate: float, cooling: float) -> None:
        self.task, self.every, self.learning_rate, self.cooling = (
            bench.task,
            every,
            learning_rate,
            cooling,
        )
        seed = derive(bench.seed, "gates")
        self.stream = endless(bench.dataset.splits["valid"], bench.recipe.batch_size, seed)
        self.logits = nn.Parameter(torch.empty(0))
        self.optimizer: torch.optim.Optimizer | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.logits = nn.Parameter(pl_module.model.embedding.logits.clone())
        self.optimizer = torch.optim.Adam([self.logits], lr=self.learning_rate)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        model, device = pl_module.model, pl_module.device
        layer: Gated = model.embedding
        layer.temperature = max(layer.temperature - self.cooling, 0.01)
        if (batch_idx + 1) % self.every:
            return
        assert self.optimizer is not None
        held_out = next(self.stream).each(lambda column: column.to(device))
        # Batch statistics of the validation batch must not enter the model.
        model.backbone.eval()
        with torch.no_grad():
            vectors = layer.inner(held_out.ids)
        with torch.enable_grad():
            logits = model.backbone(layer.gated(vectors, self.logits), held_out.dense)
            loss = self.task.loss(logits, held_out.labels, held_out.weight)
        (self.logits.grad,) = torch.autograd.grad(loss, [self.logits])
        self.optimizer.step()
        layer.logits.copy_(self.logits.detach())
        model.backbone.train()


def searched_gates(
    bench: Workbench, layer: EmbeddingLayer, *, epochs: int, every: int, learning_rate: float, cooling: float
) -> Tensor:
    """Train a new model with gates on ``layer`` and learn the gates from validation batches.

    Returns:
        ``[F]``: the logit of keeping minus that of dropping, at the end of the search.
    """
    gated = GatedFields(layer)
    search = GateSearch(bench, every=every, learning_rate=learning_rate, cooling=cooling)
    bench.train(bench.model(gated), stage="gates", callbacks=[search], epochs=epochs)
    return (search.logits[:, 1] - search.logits[:, 0]).detach().cpu()
