"""The checks that every ``restore`` makes on an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from sharkbench.errors import ArtifactError

S = TypeVar("S", bound=BaseModel)


def read_settings(model: type[S], settings: Mapping[str, Any], kind: str) -> S:
    """Settings of a format, as its own pydantic model checks them."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ArtifactError(f"format {kind}, {place}: {first['msg']}; the file is damaged") from None


def take(tensors: Mapping[str, Tensor], name: str, kind: str) -> Tensor:
    """A tensor that must be there."""
    if name not in tensors:
        raise ArtifactError(f"format {kind}: tensor '{name}' is missing; the file is damaged")
    return tensors[name]


def take_exact(
    tensors: Mapping[str, Tensor], name: str, kind: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> Tensor:
    """A tensor that must be there with exactly this type and shape; values must be finite."""
    tensor = take(tensors, name, kind)
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        raise ArtifactError(
            f"format {kind}: tensor '{name}' is {tensor.dtype} {list(tensor.shape)}, "
            f"its settings say {dtype} {list(shape)}; the file is damaged"
        )
    if dtype.is_floating_point and not torch.isfinite(tensor).all():
        raise ArtifactError(f"format {kind}: tensor '{name}' holds NaN or infinite numbers; the file is damaged")
    return tensor


def only(tensors: Mapping[str, Tensor], names: set[str], kind: str) -> None:
    """Refuse tensors beside ``names``: bytes that nothing reads."""
    extra = set(tensors) - names
    if extra:
        raise ArtifactError(f"format {kind}: tensor '{min(extra)}' belongs to nothing; the file is damaged")


def require(holds: bool, kind: str, what: str) -> None:
    """Raises an ArtifactError that says ``what`` unless ``holds``."""
    if not holds:
        raise ArtifactError(f"format {kind}: {what}; the file is damaged")
