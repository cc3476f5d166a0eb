"""What came out of a run, and where it lies. The runner writes it; tracking and the leaderboard only read it.

``<out>/runs/<key>/`` holds one finished run and appears in one rename:

    spec.json            the resolved RunSpec
    environment.json     git revision and dirty flag, package versions, hardware, threads, kernels
    result.json          a Result
    log.txt              all that the run's process printed
    packed.safetensors   the compressed table (only when the run is ok)
    backbone.safetensors the backbone that goes with it (only when the run is ok)
    speed.json           a Speed, added in one rename by the measuring stage, which has the machine to itself
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "infeasible", "failed"]
FailureKind = Literal["method", "out of memory", "timeout", "killed", "data", "diverged"]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Epoch(Record):
    """One epoch of one training stage, as validated."""

    stage: str
    epoch: int
    train_loss: float
    valid_auc: dict[str, float]
    valid_logloss: dict[str, float]
    learning_rate: float
    seconds: float


class TrainingCost(Record):
    """What making the compressed model cost; every stage counts, the shared full-precision model included."""

    seconds: float
    samples: int
    samples_per_second: float
    peak_memory_bytes: int
    peak_memory_kind: Literal["resident", "cuda allocated"]
    epochs: int


class Quality(Record):
    """Quality of one label on one split."""

    auc: float
    logloss: float
    normalized_entropy: float
    ece: float
    gauc: float | None = None


class Result(Record):
    """One run's outcome. Fields from ``quality`` on are absent unless ``status`` is ``"ok"``."""

    key: str
    status: Status
    kind: FailureKind | None = None
    reason: str | None = None

    suite: str
    dataset: str
    split: str
    data_fingerprint: str
    backbone: str
    method: str
    method_label: str
    method_version: str
    method_config: dict[str, Any] = Field(default_factory=dict)
    dimension: int
    budget: str | None = None
    budget_bytes: int | None = None
    seed: int
    started: str
    seconds: float

    quality: dict[str, Quality] = Field(default_factory=dict)
    """Test split, through the packed layer, by label."""
    quality_valid: dict[str, Quality] = Field(default_factory=dict)
    """Validation split, through the packed layer, by label."""
    pack_gap: dict[str, float] = Field(default_factory=dict)
    """Validation AUC through the packed layer minus that of the trainable model it came from, by label."""
    bytes: int | None = None
    fp32_bytes: int | None = None
    bytes_ratio: float | None = None
    param_ratio: float | None = None
    bytes_by_field: dict[str, int] = Field(default_factory=dict)
    formats: list[str] = Field(default_factory=list)
    backbone_bytes: int | None = None
    training: TrainingCost | None = None
    history: list[Epoch] = Field(default_factory=list)


class Timing(Record):
    """One probe, the packed layer in turns with its rivals in one process (A B A B); medians over rounds.

    ``per_second`` and ``ratio_*`` count single-id lookups; a ratio above 1 means faster than the rival.
    """

    name: str
    rows: int
    batch: int
    threads: int
    stream: Literal["data", "uniform", "zipf"]
    per_second: float
    per_second_low: float
    per_second_high: float
    ratio_torch: float
    """To ``torch.nn.functional.embedding`` over the fp32 table."""
    ratio_fp32: float
    """To the project's own fp32 kernel over the fp32 table."""


class Speed(Record):
    """What the measuring stage adds to a run."""

    hardware: str
    kernels: dict[str, str]
    lookups: list[Timing]
    model_samples_per_second: float
    model_ratio_fp32: float
    """Whole-model samples per second relative to the same backbone behind the fp32 table."""
    other_cpu_percent: float
    """CPU that other processes used while it was measured."""
