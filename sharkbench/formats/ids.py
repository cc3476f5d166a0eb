"""Ids in the forms that users have: tensors, NumPy arrays and lists of whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sharkbench.errors import InputError

SERVED = (torch.int32, torch.int64)
_OTHERS = (torch.int8, torch.int16, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def as_ids(ids: Any, slots: int) -> Tensor:
    """``ids`` as an int32 or int64 tensor ``[batch, slots]``.

    Raises:
        InputError: they are not whole numbers, are too large for 64 bits, or have another shape.
    """
    tensor = ids if isinstance(ids, Tensor) else _from_array(ids, slots)
    if tensor.dtype in _OTHERS and tensor.dim() == 2:
        if tensor.dtype == torch.uint64 and bool((tensor.view(torch.int64) < 0).any()):
            raise InputError("an id is above 2^63 - 1; the table takes ids that 64 bits hold with their sign")
        tensor = tensor.to(torch.int64)
    if tensor.dim() != 2 or tensor.shape[1] != slots or tensor.dtype not in SERVED or tensor.layout != torch.strided:
        raise InputError(
            f"ids are {tensor.dtype} {list(tensor.shape)}, the table takes whole numbers [batch, {slots}] "
            "(int32 or int64 without a copy)"
        )
    return tensor


def _from_array(ids: Any, slots: int) -> Tensor:
    try:
        array = np.asarray(ids)
    except Exception as error:  # a list of mixed types or a foreign object may raise anything
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"ids are a {type(ids).__name__} that is no matrix of whole numbers ({said})") from None
    if array.dtype.kind not in "iu" or array.ndim != 2:
        raise InputError(
            f"ids are a {type(ids).__name__} of {array.dtype} {list(array.shape)}, "
            f"the table takes whole numbers [batch, {slots}]"
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise InputError("an id is above 2^63 - 1; the table takes ids that 64 bits hold with their sign")
    return torch.from_numpy(array.astype(np.int64))
