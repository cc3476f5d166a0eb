"""The settings of each backbone. Light: suites are checked without importing torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Units = Annotated[int, Field(gt=0, le=65_536)]
Activation = Literal["relu", "gelu", "silu", "tanh"]


class BackboneSettings(BaseModel):
    """What all backbones have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    name: str

    first_order: ClassVar[bool] = False
    """Whether each row of the table carries one first-order (linear) weight per label besides its vector."""
    vectors: ClassVar[bool] = True
    """Whether it reads embedding vectors at all."""


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


class Linear(BackboneSettings):
    """Logistic regression: first-order weights only. A reference, not a backbone with embeddings."""

    name: Literal["linear"] = "linear"

    first_order: ClassVar[bool] = True
    vectors: ClassVar[bool] = False


class FM(BackboneSettings):
    """Factorization machine (Rendle, ICDM 2010)."""

    name: Literal["fm"] = "fm"

    first_order: ClassVar[bool] = True


class WideDeep(DeepSettings):
    """Wide & Deep (Cheng et al., DLRS 2016): a linear part beside a perceptron."""

    name: Literal["widedeep"] = "widedeep"

    first_order: ClassVar[bool] = True


class DNN(DeepSettings):
    """A perceptron on the concatenated vectors."""

    name: Literal["dnn"] = "dnn"


class DeepFM(DeepSettings):
    """DeepFM (Guo et al., IJCAI 2017): a factorization machine beside a perceptron on the same vectors."""

    name: Literal["deepfm"] = "deepfm"

    first_order: ClassVar[bool] = True


class DCN(DeepSettings):
    """Deep & Cross (Wang et al., ADKDD 2017): rank-one cross layers beside a perceptron."""

    name: Literal["dcn"] = "dcn"

    cross_layers: int = Field(default=3, ge=1, le=64)
    """Number of cross layers."""


class DCNv2(DeepSettings):
    """DCN-V2 (Wang et al., WWW 2021): full-matrix cross layers in parallel with a perceptron."""

    name: Literal["dcnv2"] = "dcnv2"

    cross_layers: int = Field(default=3, ge=1, le=64)
    """Number of cross layers."""


class DLRM(DeepSettings):
    """DLRM (Naumov et al., 2019, arXiv:1906.00091): dot products of all pairs of fields, then a perceptron."""

    name: Literal["dlrm"] = "dlrm"

    bottom: tuple[Units, ...] = Field(default=(64,), min_length=1, max_length=64)
    """Hidden units of the perceptron that turns the dense inputs, where there are any, into one more vector."""
    self_interaction: bool = False
    """Take each vector's dot product with itself too."""


BackboneConfig = Annotated[
    Linear | FM | WideDeep | DNN | DeepFM | DCN | DCNv2 | DLRM,
    Field(discriminator="name"),
]


def width(config: BackboneSettings, dimension: int, num_labels: int) -> int:
    """Numbers per row of the table: the vector's ``dimension``, and one first-order weight per label."""
    return dimension * config.vectors + num_labels * config.first_order
