"""What is known of a run once it has ended, and of how it got there. All of it is plain data, stored as JSON."""

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
"""CPU of other processes, in percent of one core, from which on a timing counts as disturbed."""
Status = Literal["ok", "infeasible", "failed"]
REFERENCE = "full"
"""The method that trains the table as it is: what all others are compared with."""
FailureKind = Literal["method", "out of memory", "timeout", "killed", "data", "diverged"]
Range = tuple[float | None, float | None]

State = Literal["fresh", "verified", "verified on other hardware", "stale"]
"""What the code as it is has to do with a stored run: it made it, it was shown to come to the same, or neither."""


class Epoch(Record):
    """One epoch of one training stage, as validated."""

    stage: str
    epoch: Count
    train_loss: float
    valid: Quality
    """Metrics that are monitored, by label."""
    learning_rate: NonNegative
    seconds: NonNegative


class TrainingCost(Record):
    """What making the compressed model cost; every stage counts, the shared full-precision model included."""

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
    """What the figures of quality are."""
    dataset: str
    split: str
    data_fingerprint: str
    backbone: str
    method: str
    method_label: str
    code: str = Field(default="", validation_alias=AliasChoices("code", "method_version"))
    """Digest of all own code that decided the outcome; before there was one, the method's version."""
    method_config: dict[str, Any] = Field(default_factory=dict)
    dimension: AtLeastOne
    budget: str | None = None
    budget_bytes: Count | None = None
    seed: Count
    setting: str = ""
    """Hash of everything that decides the outcome but the seed; only runs that share it are averaged."""
    comparison: str = ""
    """Hash of everything but seed, method and budget; runs that share it were made alike and may be compared."""
    started: str
    seconds: NonNegative

    quality: Quality = Field(default_factory=dict)
    """Test split, through the packed layer: label -> metric -> value; empty where the run is judged on validation only.
    A metric that a split cannot have is absent."""
    parts: dict[str, dict[str, Parts]] = Field(default_factory=dict)
    """Of the test split, label -> metric: what lets two runs be compared unit by unit."""
    quality_valid: Quality = Field(default_factory=dict)
    """Validation split, through the packed layer."""
    pack_gap: Quality = Field(default_factory=dict)
    """Validation through the packed layer minus that of the trainable model it came from."""
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
        """The primary one."""
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
    """What a run ran on. ``git_revision`` is ``None`` where the installed code is not a git checkout."""

    sharkbench: str
    git_revision: str | None
    git_dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    cpu: str
    cores: AtLeastOne
    """CPU cores that the process may use."""
    memory_bytes: Count
    gpus: list[str]
    threads: AtLeastOne
    """CPU threads that the run used."""
    kernels: dict[str, str]
    """Which implementation of each kernel was in use."""
    invocation: str
    """Shared by the runs of one ``sharkbench run``."""

    @property
    def hardware(self) -> str:
        return ", ".join([self.cpu, *self.gpus])

    @property
    def torch(self) -> str:
        """Its version."""
        return self.packages.get("torch", "")

    @property
    def arithmetic(self) -> tuple[str, str]:
        """What decides the last bits of sums: hardware and torch."""
        return self.hardware, self.torch


class Verification(Record):
    """That newer code makes the same of a run as the code that made it, as far as drawn runs can show."""

    at: str
    code: str
    """Digest that the run has had before."""
    revision: str | None
    """Git revision of the newer code."""
    drawn: tuple[str, ...]
    """Keys of the runs, as they were called before, that were done again."""
    hardware: str
    torch: str
    same_hardware: bool
    """Whether the drawn runs were done on the processor and torch of before, and every bit agreed."""
    largest_difference: float
    """In the primary metric, of the drawn runs."""


class Verified(Record):
    """Every verification of a run, in order."""

    steps: tuple[Verification, ...] = Field(min_length=1)

    @property
    def same_hardware(self) -> bool:
        return all(step.same_hardware for step in self.steps)


class Timing(Record):
    """One probe, the packed layer in turns with its rivals in one process (A B A B); medians over rounds.

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
    """To ``torch.nn.functional.embedding`` over the fp32 table."""
    ratio_fp32: Positive
    """To the project's own fp32 kernel over the fp32 table."""


class Speed(Record):
    """What the measuring stage adds to a run."""

    hardware: str
    kernels: dict[str, str]
    code: str = ""
    """Digest of the formats and of the timing."""
    compiled: str = ""
    """Digest of the compiled kernels' sources; empty where there were none."""
    lookups: list[Timing]
    model_samples_per_second: Positive
    model_ratio_fp32: Positive
    """Whole-model samples per second relative to the same backbone behind the fp32 table."""
    large_model_samples_per_second: Positive | None = None
    large_model_ratio_fp32: Positive | None = None
    """Both with the rows replicated to production size, if that was timed."""
    other_cpu_percent: NonNegative
    """CPU that other processes used while it was measured, in percent of one core."""
    tries: AtLeastOne = 1
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
