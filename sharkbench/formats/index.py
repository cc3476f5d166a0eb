"""Index functions: from the local id of a row to a row of a smaller table. Training and serving share them."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

MAX_ROWS = 1 << 31
"""Local ids and rows of small tables are below this, so that 32 bits hold them."""


class Digit(BaseModel):
    """``i // divisor % modulus``: a digit of the id. ``i % m`` and ``i // m`` are the two that QR uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["digit"] = "digit"
    divisor: int = Field(default=1, ge=1, lt=MAX_ROWS)
    modulus: int = Field(ge=1, lt=MAX_ROWS)

    def __call__(self, ids: Tensor) -> Tensor:
        """Local ids to rows, both int64."""
        return torch.div(ids, self.divisor, rounding_mode="floor") % self.modulus

    def words(self, cardinality: int) -> list[int]:
        """As the kernels read it, for ids below ``cardinality``: division is multiplication by a reciprocal; division
        by one and a modulus above all quotients are skipped."""
        if self.modulus == 1:
            return [1, 0, 0, 0, 1]  # a hash to the only row
        wraps = -(-cardinality // self.divisor) > self.modulus
        by = [0 if d == 1 else -(-(1 << 64) // d) for d in (self.divisor, self.modulus if wraps else 1)]
        return [0, *by, self.divisor, self.modulus]

    @property
    def gpu_words(self) -> tuple[int, int, int]:
        """As the kernels for GPUs read it: no multiplier, so a digit."""
        return 0, self.divisor, self.modulus

    def replicate(self, times: int) -> Digit:
        return self.model_copy(update={"modulus": self.modulus * times})


class Hash(BaseModel):
    """Multiply-shift hashing (Dietzfelbinger, 1996): the high half of ``a i + b`` modulo 2^64, scaled to ``modulus``.

    Two ids collide with probability of at most about ``2 / modulus`` over the draw of ``a`` (odd) and ``b``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["hash"] = "hash"
    multiplier: int = Field(ge=1, lt=1 << 63)
    increment: int = Field(ge=0, lt=1 << 63)
    modulus: int = Field(ge=1, lt=MAX_ROWS)

    def __call__(self, ids: Tensor) -> Tensor:
        """Local ids to rows, both int64."""
        # int64 arithmetic wraps modulo 2^64; the mask makes the shift a logical one.
        high = ((ids * self.multiplier + self.increment) >> 32) & 0xFFFFFFFF
        return (high * self.modulus) >> 32

    @classmethod
    def draw(cls, modulus: int, generator: torch.Generator) -> Hash:
        """A random member of the family."""
        a, b = torch.randint(0, 1 << 62, (2,), generator=generator).tolist()
        return cls(multiplier=a | 1, increment=b, modulus=modulus)

    def words(self, cardinality: int) -> list[int]:
        """As the kernels read it."""
        return [1, self.multiplier, self.increment, 0, self.modulus]

    @property
    def gpu_words(self) -> tuple[int, int, int]:
        """As the kernels for GPUs read it."""
        return self.multiplier, self.increment, self.modulus

    def replicate(self, times: int) -> Hash:
        return self.model_copy(update={"modulus": self.modulus * times})


IndexFunction = Annotated[Digit | Hash, Field(discriminator="kind")]


def identity(cardinality: int) -> Digit:
    """Every id has a row of its own."""
    return Digit(modulus=cardinality)


def remainder(modulus: int) -> Digit:
    """``i % modulus``."""
    return Digit(modulus=modulus)


def quotient(divisor: int, cardinality: int) -> Digit:
    """``i // divisor`` for ids below ``cardinality``."""
    return Digit(divisor=divisor, modulus=-(-cardinality // divisor))


def mix(keys: Tensor, seed: int | Tensor) -> Tensor:
    """64-bit hash of int64 ``keys``: MurmurHash3's finalizer over ``key ^ seed``; every bit depends on every bit."""
    x = keys ^ seed
    for multiplier in (-0x00AE502812AA7333, -0x3B314601E57A13AD):
        x = (x ^ (x >> 33 & 0x7FFFFFFF)) * multiplier
    return x ^ (x >> 33 & 0x7FFFFFFF)
