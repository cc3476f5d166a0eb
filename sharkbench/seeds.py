"""Random numbers named by what they are for, so that one consumer more does not shift the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, purpose: str) -> int:
    """A 63-bit seed for ``purpose``, the same everywhere and for ever."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for ``purpose``."""
    return torch.Generator().manual_seed(derive(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Within it torch's global generators start from ``purpose``'s seed; afterwards they go on where they were."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, purpose))
        yield
