"""No table at all: a network turns hashes of the id into its vector (deep hash embedding)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import tau
from typing import Any, Literal, Self, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Example, Format, replicated
from sharkbench.formats.index import mix
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact

Activation = Literal["mish", "relu", "silu"]
ACTIVATIONS = {"mish": F.mish, "relu": F.relu, "silu": F.silu}
Transform = Literal["uniform", "gaussian"]


class GeneratedSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    activation: Activation
    layers: int = Field(ge=1, le=64)
    transform: Transform = "uniform"


class Generated(Format):
    """``e_i = W_L act(... act(W_1 h(i) + b_1) ...) + b_L``, ``h(i)`` being ``k`` hashes of the global id.

    Hashes are uniform in [-1, 1) or standard normal (``transform``, see :func:`encode`). Kang et al., KDD 2021. Batch
    norms are folded into the linear layers before packing. The network runs once per distinct id of a call.

    Shapes: ``seeds`` ``[k]`` int64; ``weight{l}`` ``[out, in]``, ``bias{l}`` ``[out]`` float32, the first ``in`` being
    ``k`` and the last ``out`` the width.
    """

    kind = "generated"

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        seeds: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        activation: Activation,
        transform: Transform = "uniform",
    ) -> None:
        super().__init__(schema, fields, weights[-1].shape[0])
        self.activation: Activation = activation
        self.transform: Transform = transform
        self.register_buffer("seeds", seeds)
        self.seeds: Tensor
        self.num_layers = len(weights)
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            self.register_buffer(f"weight{layer}", weight)
            self.register_buffer(f"bias{layer}", bias)

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        seeds: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        activation: Activation = "mish",
        transform: Transform = "uniform",
    ) -> Self:
        """Pack a network that was trained on :func:`encode` with the same ``seeds`` ``[k]`` and ``transform``."""
        w, b = ([t.detach().float().contiguous() for t in part] for part in (weights, biases))
        return cls(schema, fields, seeds.detach().clone(), w, b, activation, transform)

    @classmethod
    def bytes_of(cls, hashes: int, hidden: Sequence[int], width: int) -> int:
        """Bytes of a network with hidden layers of these widths, and of the seeds; rows cost nothing."""
        sizes = [hashes, *hidden, width]
        return 8 * hashes + 4 * sum((before + 1) * after for before, after in pairwise(sizes))

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(getattr(self, f"weight{k}"), getattr(self, f"bias{k}")) for k in range(self.num_layers)]

    def lookup(self, ids: Tensor) -> Tensor:
        different, places = torch.unique(ids.to(torch.int64), return_inverse=True)
        x = encode(different, self.seeds, self.transform)
        for k, (weight, bias) in enumerate(self.layers):
            x = F.linear(x if k == 0 else ACTIVATIONS[self.activation](x), weight, bias)
        return F.embedding(places, x)

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        for hidden in ([], [6, 5]):
            shapes = [*pairwise([12, *hidden, width])]
            weights, biases = [torch.randn(n, m) for m, n in shapes], [torch.randn(n) for _, n in shapes]
            for transform in get_args(Transform):
                seeds = torch.randint(1 << 62, (12,))
                packed = cls.pack(schema, fields, seeds, weights, biases, "relu", transform)
                yield Example(packed, cls.bytes_of(12, hidden, width))

    def nbytes_by_field(self) -> dict[str, int]:
        return {SHARED: self.nbytes}

    @property
    def num_parameters(self) -> int:
        return len(self.seeds) + sum(w.numel() + b.numel() for w, b in self.layers)

    def replicate(self, times: int) -> Self:
        weights, biases = [w for w, _ in self.layers], [b for _, b in self.layers]
        schema = replicated(self.schema, times)
        return type(self)(schema, self.fields, self.seeds, weights, biases, self.activation, self.transform)

    def describe(self) -> dict[str, Any]:
        return {"activation": self.activation, "layers": self.num_layers, "transform": self.transform}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(GeneratedSettings, settings, cls.kind), cls.kind
        names = {"seeds"} | {f"{name}{k}" for k in range(said.layers) for name in ("weight", "bias")}
        only(tensors, names, kind)
        seeds = take(tensors, "seeds", kind)
        take_exact(tensors, "seeds", kind, torch.int64, (seeds.numel(),))
        require(len(seeds) > 0, kind, "there is no hash function")
        require(said.transform == "uniform" or len(seeds) % 2 == 0, kind, "normal hashes come in pairs")
        weights, biases, size = [], [], len(seeds)
        for k in range(said.layers):
            weight = take(tensors, f"weight{k}", kind)
            require(weight.dim() == 2 and weight.shape[0] > 0, kind, f"'weight{k}' is no matrix")
            weights.append(take_exact(tensors, f"weight{k}", kind, torch.float32, (weight.shape[0], size)))
            size = weight.shape[0]
            biases.append(take_exact(tensors, f"bias{k}", kind, torch.float32, (size,)))
        require(size == width, kind, "the last layer is not as wide as a row")
        return cls(schema, fields, seeds, weights, biases, said.activation, said.transform)


def encode(ids: Tensor, seeds: Tensor, transform: Transform = "uniform") -> Tensor:
    """``[N]`` int64 global ids to ``[N, k]`` float32; training and serving share it.

    ``uniform`` in [-1, 1), or standard normal (``gaussian``): the Box-Muller transform of pairs, one hash from the
    first half and one from the second; ``k`` must be even.
    """
    high = mix(ids.unsqueeze(1), seeds) >> 40  # 24 bits and a sign: exact in float32
    uniform = high.float() / (1 << 23)
    if transform == "uniform":
        return uniform
    first, second = ((uniform + 1) / 2).chunk(2, 1)
    radius = (-2 * torch.log1p(-first)).sqrt()
    return torch.cat([radius * (tau * second).cos(), radius * (tau * second).sin()], 1)
