"""Memory-mapped files: releases pages that have been read."""

from __future__ import annotations

import ctypes
import mmap

from torch import Tensor

_DONTNEED: int | None = getattr(mmap, "MADV_DONTNEED", None)


def leave(*tensors: Tensor) -> None:
    """Release the pages of ``tensors``, each contiguous on a mapped file, from this process's memory.

    Reading them again brings them back unchanged; the system still caches the file. Never use it on other memory,
    whose contents would be lost.
    """
    if _DONTNEED is None:
        return
    for tensor in tensors:
        # Whole pages only: a page that is shared with other data stays.
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = tensor.data_ptr() + tensor.nbytes - first
        length -= length % mmap.PAGESIZE
        if length > 0:
            _libc().madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _DONTNEED)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
