"""What every trainable embedding layer promises."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.layer import PackedLayer


class Trainable(nn.Module):
    """What a layer, and each part of one, says of its parameters, and the hooks that training calls."""

    sparse: bool = False
    """Whether gradients of rows hold the batch's rows only; training sets it as its optimizer wants it."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer updates, by rule: ``params``, and what departs from the recipe's rule for embeddings.

        Each group may state ``lr_factor`` (times the embedding learning rate), and ``l2`` (in place of the recipe's) or
        ``l2_factor`` (times it). A group with ``optimizer``, a function of a list of parameters, is not the recipe's:
        it is updated by what that makes, which a step calls ``name``, and whose learning rates fall in proportion to
        the recipe's unless ``follows`` is false.
        """
        return [{"params": list(self.parameters())}]

    def row_tables(self) -> list[nn.Parameter]:
        """Parameters ``[rows, width]`` that are read by :mod:`sharkbench.tables.sharded` only.

        Their rows can be divided among processes while the model trains.
        """
        return []

    def may_stay(self) -> bool:
        """Whether the weights as they are may become the trained model's: not while they are still too large, say.

        Asked after each validation. One that may not stay neither counts as the best nor as a miss; where none may,
        training leaves the last weights.
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
    weights. They are rows of the same table, so that every method compresses them and their bytes are counted.

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
        """``[B, S]`` ids of the whole schema, padding included, to ``[B, F, width]``; other fields are not read."""

    @abstractmethod
    def pack(self) -> PackedLayer:
        """The serving form; quality and bytes are measured on it."""

    def use_sparse_gradients(self, sparse: bool) -> None:
        """Whether gradients of rows hold the batch's rows only, as optimizers want that touch no others."""
        for module in self.modules():
            if isinstance(module, Trainable):
                module.sparse = sparse
