"""The base of all records of the store: frozen models whose numbers are within ranges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Record(BaseModel):
    # An undefined metric (a ranking of a single class) is NaN, which JSON can represent only as a string.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


def _within(low: float, high: float) -> Callable[[float], float]:
    def checked(value: float) -> float:
        if said := out_of_range(value, low, high):
            raise ValueError(said)
        return value

    return checked


def out_of_range(value: float, low: float | None, high: float | None) -> str:
    """Error message for a value outside ``low`` to ``high`` (``None``: no bound); empty if within, and for NaN."""
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if low <= value <= high or math.isnan(value):
        return ""
    if low == 0 and high == math.inf:
        return "is below 0"
    return f"a number from {low:g} to {high:g} is meant"


Bounded = Annotated[float, AfterValidator(_within(-1e9, 1e9))]
"""A finite number; NaN if undefined."""
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
