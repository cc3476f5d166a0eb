"""What a suite may say about measuring. Light: suites are checked without importing torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MeasureSpec(BaseModel):
    """How a run's packed model is timed. Quality and bytes are always measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    lookup: bool = True
    """Time lookups and whole-model samples per second."""
    only: tuple[str, ...] = ()
    """Which runs are timed, in the words of ``--only``, as ``[method=shark*, seed=0]``; all unless given."""
    batch: int = Field(default=4096, ge=1, le=1 << 20)
    """Samples per timed call."""
    production_rows: int = Field(default=10_000_000, ge=0)
    """Rows are replicated until the tables have at least this many; 0 times the data's own size only."""
    threads: int = Field(default=1, ge=1, le=1024)
    """CPU threads; more than one is noisy on a machine that others use too."""
    seconds: float = Field(default=4.0, gt=0)
    """Time that the timed calls of one run may take altogether, set-up not counted; up to three times as much while
    other processes keep the machine busy."""
