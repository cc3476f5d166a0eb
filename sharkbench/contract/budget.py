"""How many bytes a packed layer may take."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_size(text: str) -> int:
    """Bytes of a size like ``64MB`` (powers of 1000) or ``1.5GiB`` (powers of 1024).

    Raises:
        ValueError: ``text`` is not a size of this form.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?B)\s*", text.upper())
    if not found:
        raise ValueError(f"a size is a number with a unit, like 64MB or 1.5GiB; got '{text}'")
    return int(float(found[1]) * _UNITS[found[2]])


class Budget(BaseModel):
    """Bytes allowed for the packed layer: a fraction of the fp32 table (``0.25``) or a size (``64MB``, ``1.5GiB``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fraction: float | None = Field(default=None, gt=0, le=1)
    size: int | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("a budget is a fraction like 0.25 or a size like 64MB")
        if isinstance(value, int | float):
            if not 0 < value <= 1:
                raise ValueError(
                    f"a budget is a fraction above 0 and up to 1, or a size with a unit like 64MB; got {value}"
                )
            return {"fraction": float(value)}
        if isinstance(value, str):
            try:
                return {"size": parse_size(value)}
            except ValueError:
                raise ValueError(f"a budget is a fraction like 0.25 or a size like 64MB; got '{value}'") from None
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.fraction is None) == (self.size is None):
            raise ValueError("a budget is either a fraction or a size")
        return self

    @model_serializer
    def _to_yaml(self) -> float | str:
        return self.fraction if self.fraction is not None else f"{self.size}B"

    def nbytes(self, fp32_bytes: int) -> int:
        """Bytes allowed where the fp32 table takes ``fp32_bytes``."""
        return self.size if self.size is not None else int((self.fraction or 0) * fp32_bytes)

    def __str__(self) -> str:
        if self.fraction is not None:
            return f"{self.fraction:g}"
        size = self.size or 0
        for unit in ("TB", "GB", "MB", "KB"):
            if size % _UNITS[unit] == 0:
                return f"{size // _UNITS[unit]}{unit}"
        return f"{size}B"
