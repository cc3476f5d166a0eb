"""What is known of a run once it has ended, and of how it got there. All of it is plain data, stored as JSON."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUSY_PERCENT = 25.0
"""CPU of other processes, in percent of one core, from which on a timing counts as disturbed."""
Status = Literal["ok", "infeasible", "failed"]
REFERENCE = "full"
"""The method that trains the table as it is: what all others are compared with."""
FailureKind = Literal["method", "out of memory", "timeout", "killed", "data", "diverged"]


class Record(BaseModel):
    # A metric that does not exist (the AUC of a single class) is NaN, which JSON can carry as a string only.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


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


class AucBlocks(Record):
    """What each block of rows contributes to an AUC. Blocks are of the same rows for every run on the same data.

    Shares lie in [0, 1], but those of weighted samples, whose blocks hold what their rows move the AUC, may not.
    """

    positives: tuple[float, ...]
    """By block of positive rows: the share of negatives that they beat, mean over the block."""
    negatives: tuple[float, ...]
    """By block of negative rows: the share of positives that beat them, mean over the block."""

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both, to calculate with."""
        import numpy as np

        return np.array(self.positives), np.array(self.negatives)


class Quality(Record):
    """Quality of one label on one split."""

    auc: float
    logloss: float
    normalized_entropy: float
    ece: float
    gauc: float | None = None
    auc_blocks: AucBlocks | None = None
    """On the test split: what lets two runs be compared row by row."""


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
    setting: str = ""
    """Hash of everything that decides the outcome but the seed; only runs that share it are averaged."""
    comparison: str = ""
    """Hash of everything but seed, method and budget; runs that share it were made alike and may be compared."""
    started: str
    seconds: float

    quality: dict[str, Quality] = Field(default_factory=dict)
    """Test split, through the packed layer, by label; empty where the run is judged on validation only."""
    quality_valid: dict[str, Quality] = Field(default_factory=dict)
    """Validation split, through the packed layer, by label."""
    pack_gap: dict[str, float] = Field(default_factory=dict)
    """Validation AUC through the packed layer minus that of the trainable model it came from, by label."""
    bytes: int | None = None
    fp32_bytes: int | None = None
    bytes_ratio: float | None = None
    param_ratio: float | None = None
    bytes_by_field: dict[str, int] = Field(default_factory=dict)
    bytes_by_format: dict[str, int] = Field(default_factory=dict)
    formats: list[str] = Field(default_factory=list)
    backbone_bytes: int | None = None
    training: TrainingCost | None = None
    history: list[Epoch] = Field(default_factory=list)


class Environment(Record):
    """What a run ran on. ``git_revision`` is ``None`` where the installed code is not a git checkout."""

    sharkbench: str
    git_revision: str | None
    git_dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    cpu: str
    cores: int
    """CPU cores that the process may use."""
    memory_bytes: int
    gpus: list[str]
    threads: int
    """CPU threads that the run used."""
    kernels: dict[str, str]
    """Which implementation of each kernel was in use."""
    invocation: str
    """Shared by the runs of one ``sharkbench run``."""

    @property
    def hardware(self) -> str:
        return ", ".join([self.cpu, *self.gpus])


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
    large_model_samples_per_second: float | None = None
    large_model_ratio_fp32: float | None = None
    """Both with the rows replicated to production size, if that was timed."""
    other_cpu_percent: float
    """CPU that other processes used while it was measured, in percent of one core."""
    tries: int = 1
    """How often it was measured; the quietest time is what counts."""

    @property
    def busy(self) -> bool:
        """Whether other processes took so much of the machine that the figures cannot be relied upon."""
        return self.other_cpu_percent > BUSY_PERCENT

    @cached_property
    def own_size(self) -> Timing | None:
        """The data's own ids on the table at its own size: fewest threads, largest batch."""
        found = [timing for timing in self.lookups if timing.stream == "data"]
        return min(found, key=lambda timing: (timing.rows, timing.threads, -timing.batch), default=None)

    @cached_property
    def production_size(self) -> Timing | None:
        """The largest table that was timed, if larger than the data's own: fewest threads, largest batch."""
        own = self.own_size
        larger = [timing for timing in self.lookups if own is None or timing.rows > own.rows]
        streams = ("data", "zipf", "uniform")
        return min(
            larger, key=lambda timing: (-timing.rows, streams.index(timing.stream), timing.threads), default=None
        )

    @property
    def lookup_ratio(self) -> float | None:
        """Lookups per second of the data's own ids, relative to the fp32 table in the same measurement."""
        return self.own_size.ratio_fp32 if self.own_size else None
