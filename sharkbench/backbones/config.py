"""The base of backbones' settings. Light: suites are checked without importing torch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape

Units = Annotated[int, Field(gt=0, le=65_536)]
Activation = Literal["relu", "gelu", "silu", "tanh"]


class BackboneSettings(BaseModel):
    """A backbone: its hyperparameters, and the network that they define.

    One file per backbone, named like it. Keep it light (no torch at import, the network is imported within
    :meth:`build`), because suites are checked by importing the backbones that they name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    name: str

    first_order: ClassVar[bool] = False
    """Whether each row of the table carries one first-order (linear) weight per label besides its vector."""
    vectors: ClassVar[bool] = True
    """Whether it reads embedding vectors."""

    @abstractmethod
    def build(self, shape: BackboneShape) -> Backbone:
        """The network; :func:`sharkbench.backbones.build` initialises its parameters."""


class DeepSettings(BackboneSettings):
    """A backbone with a multi-layer perceptron: linear, batch norm, activation, dropout per hidden layer."""

    hidden: tuple[Units, ...] = Field(default=(400, 400, 400), min_length=1, max_length=64)
    """Units of each hidden layer."""
    batch_norm: bool = True
    """Batch normalisation after each hidden linear layer."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of hidden units dropped in training."""
    activation: Activation = "relu"
    """Non-linearity of the hidden layers."""


def width(config: BackboneSettings, dimension: int, num_labels: int) -> int:
    """Weights per row of the table: the vector's ``dimension``, and one first-order weight per label."""
    return dimension * config.vectors + num_labels * config.first_order
