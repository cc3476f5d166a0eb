"""The runs of a suite, in order of execution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from sharkbench.errors import InputError
from sharkbench.suite import filters
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec, present_code
from sharkbench.suite.shards import shard


def plan(
    suite: Suite, only: Sequence[str] = (), cache_dir: Path | None = None, part: str | None = None
) -> list[RunSpec]:
    """The runs of ``suite``, or those that match ``only``.

    Runs that share a data set and a full-precision model are adjacent; those without a budget (including the full
    model) come first. Within a data set, all backbones of one seed come before the next seed.

    Args:
        only: ``key=pattern`` filters with ``*`` and ``?`` over :data:`~sharkbench.suite.filters.FILTERS`; filters with
            the same key are alternatives, filters with different keys must all match.
        cache_dir: cache of prepared data and fingerprints; by default :func:`~sharkbench.data.cache.default_cache_dir`.
        part: ``i/n``, one of the parts into which :func:`~sharkbench.suite.shards.shard` divides those runs.

    Raises:
        InputError: a part or a filter is invalid or selects nothing, a method that needs budgets has none, or data is
            missing.
    """
    if needy := suite.without_budgets:
        raise InputError(
            f"'{suite.name}' has no 'budgets', and '{needy[0]}' needs them; 'sharkbench search' finds some, or add a "
            "line like 'budgets: [0.5, 0.1]'"
        )
    asked = filters.parsed(only)
    cells = list(_cells(suite, cache_dir))
    if suite.measure.lookup and not any(run.measure.lookup for run in cells):
        raise InputError(f"no run of '{suite.name}' matches measure.only {' '.join(suite.measure.only)}")
    runs = [run for run in cells if filters.kept(run, asked)]
    if not runs:
        raise InputError(f"no run of '{suite.name}' matches --only {' '.join(only)}; see 'sharkbench plan'")
    return shard(runs, part) if part is not None else runs


def _cells(suite: Suite, cache_dir: Path | None) -> Iterator[RunSpec]:
    from sharkbench.data.prepare import fingerprint

    methods = sorted(suite.methods, key=lambda entry: entry.spec.budgeted)
    code = present_code()
    for dataset in suite.datasets:
        source = fingerprint(dataset.spec, cache_dir)
        for seed, backbone in product(suite.seeds, suite.backbones):
            recipe = suite.recipe(dataset, backbone)
            for entry in methods:
                for budget in suite.budgets_of(entry):
                    yield filters.timed(
                        RunSpec(
                            suite=suite.name,
                            dataset=dataset.spec,
                            fingerprint=source,
                            task=suite.task,
                            backbone=backbone.spec,
                            dimension=suite.dimension,
                            method=entry.spec,
                            method_label=entry.label,
                            budget=budget,
                            seed=seed,
                            train=recipe,
                            measure=suite.measure,
                            timeout=suite.executor.timeout,
                        ).by(code)
                    )
