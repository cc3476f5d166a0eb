"""The contract of every trainable embedding layer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.layer import PackedLayer


class Trainable(nn.Module):
    """How the parameters of a layer, or of a part of one, are trained, and the hooks that training calls."""

    sparse: bool = False
    """Whether gradients of tables are sparse, with the batch's rows only; training sets it for its optimizer."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimizer: ``params``, and how each group departs from the rule for embeddings.

        A group may state ``lr_factor`` (times the embedding learning rate), and ``l2`` (in place of the recipe's) or
        ``l2_factor`` (times it). A group with ``optimizer``, a function from a list of parameters to an optimizer, is
        not updated by the recipe's optimizer but by that one; training steps refer to it as ``name``, and its learning
        rates fall in proportion to the recipe's unless ``follows`` is false.
        """
        return [{"params": list(self.parameters())}]

    def row_tables(self) -> list[nn.Parameter]:
        """Parameters ``[rows, width]`` that are read by :mod:`sharkbench.tables.sharded` only.

        Their rows can be divided among processes in training.
        """
        return []

    def may_stay(self) -> bool:
        """Whether the current weights may become those of the trained model; not while they exceed the budget, say.

        Called after each validation. Where it is false, the validation counts neither as the best nor as a miss; where
        it is always false, training keeps the last weights.
        """
        return True

    def after_step(self) -> None:
        """Called after every optimizer step (to project, re-quantize, prune ...)."""

    def extra_loss(self) -> Tensor | None:
        """A term to add to the loss of the batch just looked up, or ``None``."""
        return None


class EmbeddingLayer(Trainable):
    """Trainable: ids ``[B, S]`` to field vectors ``[B, F, width]`` float32.

    ``width`` is the embedding dimension ``D`` plus one column per label where the backbone has first-order (linear)
    weights. These are columns of the same table, so that every method compresses them and their bytes are counted.

    Nearly every layer is a :class:`~sharkbench.tables.parts.Table` of parts.

    Args:
        schema: of the data set.
        width: weights per row.
        fields: those that the layer has, all of the schema's unless given.
    """

    def __init__(self, schema: Schema, width: int, fields: Sequence[int] | None = None) -> None:
        super().__init__()
        self.schema, self.width = schema, width
        self.fields = tuple(range(schema.num_fields)) if fields is None else tuple(sorted(int(f) for f in fields))
        starts = torch.from_numpy(schema.offsets[:-1][schema.slot_fields])
        self.register_buffer("slot_starts", starts, persistent=False)
        self.slot_starts: Tensor
        """``[S]``: the first row of each slot's field."""

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """Ids ``[B, S]`` of all slots of the schema, padding included, to ``[B, F, width]``; reads its fields only."""

    @abstractmethod
    def pack(self) -> PackedLayer:
        """The packed layer that is served; quality and bytes are measured on it."""

    def use_sparse_gradients(self, sparse: bool) -> None:
        """Set whether gradients of tables are sparse, for optimizers that update the batch's rows only."""
        for module in self.modules():
            if isinstance(module, Trainable):
                module.sparse = sparse
