"""A CTR model: an embedding layer and the backbone that reads its vectors."""

from __future__ import annotations

from torch import Tensor, nn

from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer


class Model(nn.Module):
    """Trainable embedding layer and backbone."""

    def __init__(self, embedding: EmbeddingLayer, backbone: nn.Module) -> None:
        super().__init__()
        self.embedding, self.backbone = embedding, backbone

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """``[B, S]`` ids and ``[B, K]`` dense inputs to ``[B, T]`` logits."""
        return self.backbone(self.embedding(ids), dense)

    def pack(self) -> PackedModel:
        return PackedModel(self.embedding.pack(), self.backbone)


class PackedModel(nn.Module):
    """The model that is served and measured: packed layer and backbone."""

    def __init__(self, layer: PackedLayer, backbone: nn.Module) -> None:
        super().__init__()
        self.layer, self.backbone = layer, backbone
        self.eval()

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """``[B, S]`` ids and ``[B, K]`` dense inputs to ``[B, T]`` logits."""
        return self.backbone(self.layer(ids), dense)
