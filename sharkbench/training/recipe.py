"""The training recipe. Light: suites are checked without importing torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

Optimizer = Literal["adam", "lazy_adam", "rowwise_adagrad", "sgd"]


class Recipe(BaseModel):
    """How every model of a suite is trained. The defaults are those of BARS, except the regularisation strengths."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    optimizer: Optimizer = "adam"
    """``adam`` updates every row at every step. ``lazy_adam`` and ``rowwise_adagrad`` (one accumulator per row) update
    only the rows of the batch, which is faster on large tables but a different optimizer. ``sgd`` has no state."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of the backbone, and of the embeddings unless they have their own."""
    embedding_learning_rate: PositiveFloat | None = None
    """Learning rate of the embedding layer; by default ``learning_rate``."""
    batch_size: PositiveInt = 4096
    """Samples per step."""
    epochs: PositiveInt = 20
    """Largest number of passes over the training split."""
    embedding_l2: NonNegativeFloat = 0.0
    """L2 regularisation strength lambda of the embedding layer, first-order weights included. It adds
    lambda/2 * ||W||^2 to the loss at each step: over the whole table with ``adam``, over the batch's rows with the
    other optimizers."""
    network_l2: NonNegativeFloat = 0.0
    """L2 regularisation strength of the backbone's weights (without biases and batch normalisation)."""
    clip_norm: PositiveFloat | None = 10.0
    """Gradients are clipped to this norm over all parameters; ``null`` means no clipping."""
    init_std: PositiveFloat = 1e-4
    """Standard deviation of the normal distribution that initialises the rows of the table."""
    validations_per_epoch: PositiveInt = 1
    """Number of validations per epoch."""
    monitor: str | None = None
    """Validation metric for early stopping, as the mean over labels: one that the task monitors; by default its primary
    metric."""
    min_delta: NonNegativeFloat = 1e-6
    """A validation that improves the metric by no more than this is a miss."""
    patience: PositiveInt = 2
    """Training stops after this many misses in a row; the weights of the best validation are restored."""
    lr_factor: float = Field(default=0.1, gt=0, le=1)
    """Each miss multiplies the learning rates by this factor."""
    precision: Literal["fp32", "bf16-mixed"] = "fp32"
    """``bf16-mixed`` computes matrix products in bfloat16; weights and the table stay float32."""
    compile: bool = False
    """Compile the backbone with ``torch.compile``; pays off only in long training runs."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """``auto`` uses a GPU if there is one."""
    device: int = Field(default=0, ge=0)
    """Index of the GPU, if there are several."""
    threads: PositiveInt = 1
    """CPU threads of a run. Floating-point sums depend slightly on this number, so the default does not depend on the
    machine or on how many runs share it."""
    processes: PositiveInt = 1
    """Number of processes that train a model together, each on its part of every batch (and on its own GPU, from
    ``device`` on). ``batch_size`` counts the samples of all processes. Losses, gradients and metrics equal those of one
    process up to rounding; dropout masks differ."""
    shard_tables: bool = False
    """Shard the rows of the tables, with their optimizer state, over the processes in training. If a method cannot do
    this, each process holds all rows (a table in docs/scale.md lists these methods and the reasons)."""

    @model_validator(mode="after")
    def _processes_have_rows(self) -> Self:
        if self.batch_size < self.processes:
            raise ValueError(
                f"batch_size ({self.batch_size}) is that of all processes together; "
                f"make it at least processes ({self.processes})"
            )
        if self.shard_tables and self.processes == 1:
            raise ValueError("shard_tables divides tables among processes; set processes to 2 or more as well")
        return self

    @property
    def cores(self) -> int:
        """CPU cores that a run uses."""
        return self.threads * self.processes

    @property
    def sparse(self) -> bool:
        """Whether gradients of the table are sparse, with the batch's rows only."""
        return self.optimizer != "adam"
