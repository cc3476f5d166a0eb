"""The settings of each task. Light: suites are checked without importing torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Ctr(BaseModel):
    """Click-through rate: the probability of each label, judged by ranking, log loss and calibration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Literal["ctr"] = "ctr"

    ece_bins: int = Field(default=20, ge=2)
    """Bins of the calibration error; each has about the same number of samples."""


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


# A tagged union with one member so far: `ctr` and `{name: ctr, ...}` both work.
TaskConfig = Annotated[Ctr, BeforeValidator(_by_name, json_schema_input_type=Literal["ctr"] | Ctr)]
