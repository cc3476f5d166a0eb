"""A layer that is done training: it looks up what it serves."""

from __future__ import annotations

from torch import Tensor

from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer


class PackedTable(EmbeddingLayer):
    """Wraps a packed layer: what post-training methods return. It has no parameters; the backbone could still train."""

    def __init__(self, layer: PackedLayer) -> None:
        super().__init__(layer.schema, layer.width, layer.fields)
        self.layer = layer

    def forward(self, ids: Tensor) -> Tensor:
        return self.layer(ids)

    def pack(self) -> PackedLayer:
        return self.layer
