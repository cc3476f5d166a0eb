"""Memory-mapped files: what has been read need not stay resident."""

from __future__ import annotations

import ctypes
import mmap

from torch import Tensor

_DONTNEED: int | None = getattr(mmap, "MADV_DONTNEED", None)


def leave(*tensors: Tensor) -> None:
    """Take the pages of ``tensors``, each in one piece on a mapped file, out of this process's memory.

    They come back, unchanged, when they are read again; the system goes on caching the file. Never for other memory,
    whose contents would be lost.
    """
    if _DONTNEED is None:
        return
    for tensor in tensors:
        # Whole pages only: what shares a page with something else stays.
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = tensor.data_ptr() + tensor.nbytes - first
        length -= length % mmap.PAGESIZE
        if length > 0:
            _libc().madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _DONTNEED)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
