"""What every trainable embedding layer promises."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from sharkbench.data.schema import PADDING, Schema
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots


class EmbeddingLayer(nn.Module):
    """Trainable: ids ``[B, S]`` to field vectors ``[B, F, width]`` float32.

    ``width`` is the embedding dimension ``D`` plus one column per label where the backbone has first-order (linear)
    weights. They are rows of the same table, so that every method compresses them and their bytes are counted.

    A subclass implements :meth:`lookup` and :meth:`pack`, and may use the hooks.
    """

    def __init__(self, schema: Schema, width: int) -> None:
        super().__init__()
        self.schema, self.width = schema, width
        self.fields: tuple[int, ...] = tuple(range(schema.num_fields))
        starts = torch.from_numpy(schema.offsets[:-1][schema.slot_fields])
        self.register_buffer("slot_starts", starts, persistent=False)
        self.slot_starts: Tensor

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, S]`` global ids, none of them padding, to ``[B, S, width]``."""

    @abstractmethod
    def pack(self) -> PackedLayer:
        """The serving form; quality and bytes are measured on it."""

    def forward(self, ids: Tensor) -> Tensor:
        if not self.schema.multivalued:
            return self.lookup(ids)
        vectors = self.lookup(torch.where(ids == PADDING, self.slot_starts.to(ids), ids))
        return pool_slots(vectors, ids, self.schema, self.fields)

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
