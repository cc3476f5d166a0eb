"""Records of finished runs: results, histories, environments and speeds. All are plain data, stored as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from sharkbench.results import earlier
from sharkbench.results.base import AtLeastOne, Count, NonNegative, Positive, Record, out_of_range
from sharkbench.results.metrics import Metric, Parts, Quality, check, primary_of

BUSY_PERCENT = 25.0
"""CPU use of other processes, in percent of one core, above which a timing counts as disturbed."""
Status = Literal["ok", "infeasible", "failed"]
REFERENCE = "full"
"""The method that trains the uncompressed table, with which all others are compared."""
FailureKind = Literal["method", "out of memory", "timeout", "killed", "data", "diverged"]
Range = tuple[float | None, float | None]

State = Literal["fresh", "verified", "verified on other hardware", "stale"]
"""Relation of the present code to a stored run: it computed it, it was verified to give the same result, or neither."""


class Epoch(Record):
    """One validation of one training stage."""

    stage: str
    epoch: Count
    train_loss: float
    valid: Quality
    """Values of the monitored metrics, by label."""
    learning_rate: NonNegative
    seconds: NonNegative


class TrainingCost(Record):
    """Cost of computing the compressed model over all stages, including the shared full-precision model."""

    seconds: NonNegative
    samples: Count
    samples_per_second: NonNegative
    peak_memory_bytes: Count
    peak_memory_kind: Literal["resident", "cuda allocated"]
    epochs: Count


class Result(Record):
    """One run's outcome. Fields from ``quality`` on are absent unless ``status`` is ``"ok"``."""

    key: str
    status: Status
    kind: FailureKind | None = None
    reason: str | None = None

    suite: str
    task: str
    metrics: tuple[Metric, ...]
    """Descriptions of the metrics."""
    dataset: str
    split: str
    data_fingerprint: str
    backbone: str
    method: str
    method_label: str
    code: str = Field(default="", validation_alias=AliasChoices("code", "method_version"))
    """Digest of all project code that determined the outcome; in older results the method's version."""
    method_config: dict[str, Any] = Field(default_factory=dict)
    dimension: AtLeastOne
    budget: str | None = None
    budget_bytes: Count | None = None
    seed: Count
    setting: str = ""
    """Hash of everything that determines the outcome except the seed; only runs that share it are averaged."""
    comparison: str = ""
    """Hash of everything except seed, method and budget; only runs that share it may be compared."""
    started: str
    seconds: NonNegative

    quality: Quality = Field(default_factory=dict)
    """Quality on the test split with the packed layer: label -> metric -> value; empty if the run is evaluated on
    validation only. A metric that is undefined on a split is absent."""
    parts: dict[str, dict[str, Parts]] = Field(default_factory=dict)
    """Parts on the test split, label -> metric -> parts: they allow a comparison of two runs unit by unit."""
    quality_valid: Quality = Field(default_factory=dict)
    """Quality on the validation split with the packed layer."""
    pack_gap: Quality = Field(default_factory=dict)
    """Validation quality with the packed layer minus that of the trainable model before packing."""
    bytes: Count | None = None
    fp32_bytes: Count | None = None
    bytes_ratio: NonNegative | None = None
    param_ratio: NonNegative | None = None
    bytes_by_field: dict[str, Count] = Field(default_factory=dict)
    bytes_by_format: dict[str, Count] = Field(default_factory=dict)
    formats: list[str] = Field(default_factory=list)
    backbone_bytes: Count | None = None
    training: TrainingCost | None = None
    history: list[Epoch] = Field(default_factory=list)

    @property
    def metric(self) -> Metric:
        """The primary metric."""
        return primary_of(self.metrics)

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, said: Any) -> Any:
        return earlier.as_now(said)

    @model_validator(mode="after")
    def _values_are_of_its_metrics(self) -> Self:
        check(self.metrics)
        if wrong := list(self._wrong_values()):
            raise ValidationError.from_exception_data(type(self).__name__, wrong)
        return self

    def _wrong_values(self) -> Iterator[InitErrorDetails]:
        ranges = {metric.name: (metric.low, metric.high) for metric in self.metrics}
        gaps: dict[str, Range] = {
            m.name: (None, None) if m.width is None else (-m.width, m.width) for m in self.metrics
        }
        found: list[tuple[tuple[str | int, ...], Quality, dict[str, Range]]] = [
            (("quality",), self.quality, ranges),
            (("quality_valid",), self.quality_valid, ranges),
            (("pack_gap",), self.pack_gap, gaps),
        ]
        found += [(("history", i, "valid"), epoch.valid, ranges) for i, epoch in enumerate(self.history)]
        for place, quality, allowed in found:
            for label, values in quality.items():
                for name, value in values.items():
                    said = out_of_range(value, *allowed[name]) if name in allowed else "is none of its metrics"
                    if said:
                        error = PydanticCustomError("value_error", "Value error, {said}", {"said": said})
                        yield InitErrorDetails(type=error, loc=(*place, label, name), input=value)


class Environment(Record):
    """The environment of a run. ``git_revision`` is ``None`` if the code is not a git checkout."""

    sharkbench: str
    git_revision: str | None
    git_dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    cpu: str
    cores: AtLeastOne
    """CPU cores available to the process."""
    memory_bytes: Count
    gpus: list[str]
    threads: AtLeastOne
    """CPU threads of the run."""
    kernels: dict[str, str]
    """Implementation in use of each kernel."""
    invocation: str
    """ID shared by the runs of one ``sharkbench run``."""

    @property
    def hardware(self) -> str:
        return ", ".join([self.cpu, *self.gpus])

    @property
    def torch(self) -> str:
        """Version of torch."""
        return self.packages.get("torch", "")

    @property
    def arithmetic(self) -> tuple[str, str]:
        """Hardware and torch, which determine the last bits of floating-point sums."""
        return self.hardware, self.torch


class Verification(Record):
    """Evidence from repeated runs that newer code gives the same result for a run as the code that computed it."""

    at: str
    code: str
    """Earlier code digest of the run."""
    revision: str | None
    """Git revision of the newer code."""
    drawn: tuple[str, ...]
    """Earlier keys of the runs that were repeated."""
    hardware: str
    torch: str
    same_hardware: bool
    """Whether the runs were repeated on the same processor and torch, and every bit agreed."""
    largest_difference: float
    """Largest difference of the repeated runs in the primary metric."""


class Verified(Record):
    """Every verification of a run, in order."""

    steps: tuple[Verification, ...] = Field(min_length=1)

    @property
    def same_hardware(self) -> bool:
        return all(step.same_hardware for step in self.steps)


class Timing(Record):
    """One timing: the packed layer in turns with its rivals in one process (A B A B); medians over rounds.

    ``per_second`` and ``ratio_*`` count single-id lookups; a ratio above 1 means faster than the rival.
    """

    name: str
    rows: Count
    batch: AtLeastOne
    threads: AtLeastOne
    stream: Literal["data", "uniform", "zipf"]
    per_second: Positive
    per_second_low: Positive
    per_second_high: Positive
    ratio_torch: Positive
    """Rate relative to ``torch.nn.functional.embedding`` on the fp32 table."""
    ratio_fp32: Positive
    """Rate relative to this project's fp32 kernel on the fp32 table."""


class Speed(Record):
    """The speed of a run, added by the measuring stage."""

    hardware: str
    kernels: dict[str, str]
    code: str = ""
    """Digest of the code of formats and timing."""
    compiled: str = ""
    """Digest of the compiled kernels' sources; empty if there were none."""
    lookups: list[Timing]
    model_samples_per_second: Positive
    model_ratio_fp32: Positive
    """Whole-model samples per second relative to the same backbone with the fp32 table."""
    large_model_samples_per_second: Positive | None = None
    large_model_ratio_fp32: Positive | None = None
    """Both with the rows replicated to production size, if that was timed."""
    other_cpu_percent: NonNegative
    """CPU use of other processes during the timing, in percent of one core."""
    tries: AtLeastOne = 1
    """Number of timings; the one with the least disturbance counts."""

    @property
    def busy(self) -> bool:
        """Whether other processes used so much CPU that the figures are unreliable."""
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
