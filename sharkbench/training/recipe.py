"""The training recipe. Light: suites are checked without importing torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

Optimizer = Literal["adam", "lazy_adam", "rowwise_adagrad", "sgd"]


class Recipe(BaseModel):
    """How every model of a suite is trained. The defaults are those of BARS, but for the regularisation strengths."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    optimizer: Optimizer = "adam"
    """``adam`` moves every row at every step; ``lazy_adam`` and ``rowwise_adagrad`` (one accumulator per row) touch
    only the rows of the batch, which is quicker on large tables and not the same optimizer; ``sgd`` has no state."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of the network, and of the embeddings unless they have their own."""
    embedding_learning_rate: PositiveFloat | None = None
    """Step size of the embedding layer."""
    batch_size: PositiveInt = 4096
    """Samples per step."""
    epochs: PositiveInt = 20
    """At most so many passes over the training split."""
    embedding_l2: NonNegativeFloat = 0.0
    """Adds lambda/2 * ||W||^2 of the embedding layer to the loss, first-order weights included: of the whole table at
    each step with ``adam``, of the batch's rows with the other optimizers."""
    network_l2: NonNegativeFloat = 0.0
    """The same for the backbone's weights (biases and batch normalisation are left out)."""
    clip_norm: PositiveFloat | None = 10.0
    """Largest norm of the gradient over all parameters; ``null`` does not clip."""
    init_std: PositiveFloat = 1e-4
    """Rows of the table start from N(0, init_std)."""
    validations_per_epoch: PositiveInt = 1
    """How often an epoch is interrupted to validate."""
    monitor: str | None = None
    """The metric that decides on validation, as the mean over labels: one that the task monitors, its primary one
    unless given."""
    min_delta: NonNegativeFloat = 1e-6
    """A validation that gains no more than this is a miss."""
    patience: PositiveInt = 2
    """So many misses in a row end the training; the weights of the best validation are restored."""
    lr_factor: float = Field(default=0.1, gt=0, le=1)
    """Each miss multiplies the learning rates by this."""
    precision: Literal["fp32", "bf16-mixed"] = "fp32"
    """``bf16-mixed`` computes matrix products in bfloat16; weights and the table stay float32."""
    compile: bool = False
    """Compile the backbone with ``torch.compile``; pays off in long trainings only."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """``auto`` takes a GPU where there is one."""
    device: int = Field(default=0, ge=0)
    """Which GPU, where there are several."""
    threads: PositiveInt = 1
    """CPU threads of a run. Sums come out a little differently with another number, so it does not follow the machine
    or how many runs share it."""
    processes: PositiveInt = 1
    """Processes that train a model together, each on its part of every batch (and on a GPU of its own, from
    ``device`` on). ``batch_size`` is that of all together; losses, gradients and metrics are those of one process up to
    rounding. What dropout draws is not."""
    shard_tables: bool = False
    """Divide the rows of the tables among the processes while a model trains, optimizer state included. Where a method
    cannot, each process holds all of them (a table in docs/scale.md says which, and why)."""

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
        """CPU cores that a run keeps busy."""
        return self.threads * self.processes

    @property
    def sparse(self) -> bool:
        """Whether gradients of the table hold the batch's rows only."""
        return self.optimizer != "adam"
