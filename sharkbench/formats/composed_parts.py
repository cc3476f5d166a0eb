"""Settings of the parts of a composition, as artifacts state them, and the width of the composed rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sharkbench.formats.codec import RowCodec
from sharkbench.formats.index import MAX_ROWS

Operation = Literal["add", "mult", "concat"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitPart(_Strict):
    divisor: int = Field(ge=1, lt=MAX_ROWS)
    modulus: int = Field(ge=1, lt=MAX_ROWS)


class HashPart(_Strict):
    hash_modulus: int = Field(ge=1, lt=MAX_ROWS)


class PartSettings(_Strict):
    width: int = Field(ge=1, le=1 << 16)
    shared: bool
    functions: tuple[DigitPart | HashPart, ...]


class ComposedSettings(_Strict):
    codec: RowCodec
    parts: tuple[PartSettings, ...] = Field(min_length=1, max_length=64)
    operations: tuple[Operation, ...]
    head: bool


def composed_width(widths: Sequence[int], operations: Sequence[Operation]) -> int:
    """Width of the rows that parts of these widths combine to."""
    return reduce(
        lambda w, step: w + step[1] if step[0] == "concat" else w, zip(operations, widths[1:], strict=True), widths[0]
    )


def fits(widths: Sequence[int], operations: Sequence[Operation], width: int) -> bool:
    """Whether parts of these widths combine to rows of ``width``."""
    reached = widths[0]
    for operation, part in zip(operations, widths[1:], strict=True):
        if operation == "concat":
            reached += part
        elif part not in (1, reached):
            return False
    return reached == width


def hashed(part: PartSettings) -> int:
    """Number of the part's index functions that are hashes."""
    return sum(isinstance(f, HashPart) for f in part.functions)
