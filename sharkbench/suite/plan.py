"""The cells of a suite, in the order in which to run them."""

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
    """Every cell of ``suite``, or those that ``only`` keeps.

    Runs that share a data set and a full-precision model stand together, the ones that take no budget (the full model
    among them) first; within a data set all backbones of one seed come before the next seed.

    Args:
        only: ``key=pattern`` filters with ``*`` and ``?`` over :data:`~sharkbench.suite.filters.FILTERS`; those with
            one key are alternatives, different keys must all match.
        cache_dir: of prepared data, where fingerprints are remembered too; the data room's own unless given.
        part: ``i/n``, one of the parts into which :func:`~sharkbench.suite.shards.shard` divides those runs.

    Raises:
        InputError: a part or a filter that cannot be meant or keeps nothing, no budgets though a method needs them, or
            data that is not there.
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
