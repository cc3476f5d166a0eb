"""A layer that is no longer trained: it looks up packed rows."""

from __future__ import annotations

from torch import Tensor

from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer


class PackedTable(EmbeddingLayer):
    """Wraps a packed layer, which post-training methods return: ids ``[B, S]`` to ``[B, F, width]``.

    It has no parameters; the backbone could still be trained.
    """

    def __init__(self, layer: PackedLayer) -> None:
        super().__init__(layer.schema, layer.width, layer.fields)
        self.layer = layer

    def forward(self, ids: Tensor) -> Tensor:
        return self.layer(ids)

    def pack(self) -> PackedLayer:
        return self.layer
