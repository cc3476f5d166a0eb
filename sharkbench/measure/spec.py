"""The schema of a suite's ``measure``. Light: suites are checked without importing torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MeasureSpec(BaseModel):
    """How a run's packed model is timed. Quality and bytes are always measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    lookup: bool = True
    """Measure lookups per second of the table and samples per second of the whole model."""
    only: tuple[str, ...] = ()
    """The runs to time, as conditions of ``--only``: ``[method=shark*, seed=0]``, for example; by default all."""
    batch: int = Field(default=4096, ge=1, le=1 << 20)
    """Samples per timed call."""
    production_rows: int = Field(default=10_000_000, ge=0)
    """Tables are also timed with their rows replicated up to at least this number; 0 times the original size only."""
    threads: int = Field(default=1, ge=1, le=1024)
    """CPU threads; timings with more than one are noisy on a shared machine."""
    seconds: float = Field(default=4.0, gt=0)
    """Time limit in seconds for all timed calls of one run, without set-up; up to three times as long while other
    processes keep the machine busy."""
