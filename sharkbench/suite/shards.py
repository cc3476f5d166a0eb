"""Divides a plan among machines that do not communicate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import cycle

from sharkbench.errors import InputError
from sharkbench.suite.run import RunSpec


def shard(runs: Sequence[RunSpec], part: str) -> list[RunSpec]:
    """One of ``n`` parts of a plan, the same on every machine that plans the same suite on the same data.

    Runs that share a full-precision model stay together, so that only one machine trains it. The groups are assigned to
    parts in turn, in alternating order: each part gets some of every data set, and none always the first backbone.

    Args:
        part: ``i/n``, from ``1/n`` to ``n/n``.

    Raises:
        InputError: ``part`` is invalid, or there are fewer groups than parts.
    """
    index, count = _parsed(part)
    groups: dict[str, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(run.full_key, []).append(run)
    if count > len(groups):
        raise InputError(
            f"--shard {part}: the {len(runs)} runs share {len(groups)} full-precision models, and those that share one "
            f"stay together; {len(groups)} shards are the most"
        )
    turns = cycle([*range(1, count + 1), *range(count, 0, -1)])
    return [run for group, turn in zip(groups.values(), turns, strict=False) if turn == index for run in group]


def _parsed(part: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", part)
    if not found or int(found[1]) > int(found[2]):
        raise InputError(f"--shard {part}: write it as i/n, from 1/n to n/n, like 1/4 on the first of four machines")
    return int(found[1]), int(found[2])
