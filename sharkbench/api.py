"""``sharkbench.run`` and ``sharkbench.load``: a suite from Python, and a compressed table to serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharkbench.suite.load import load as load_suite
from sharkbench.suite.plan import plan

if TYPE_CHECKING:
    from sharkbench.formats.layer import PackedLayer, Unknown
    from sharkbench.runner import Summary
    from sharkbench.runner.events import Event
    from sharkbench.suite.model import Suite


def run(
    suite: Suite | str | Path | Mapping[str, Any],
    *,
    out: Path | str | None = None,
    settings: Sequence[str] = (),
    only: Sequence[str] = (),
    shard: str | None = None,
    jobs: int | None = None,
    force: bool = False,
    retry_failed: bool = False,
    cache_dir: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Run what is missing of a suite, and write its leaderboard.

    Args:
        suite: a file, the name of a built-in suite, a mapping that says what a file would, or a loaded suite.
        out: where everything goes; ``results/<suite name>`` unless given.
        settings: ``key=value`` overrides, as of ``--set``.
        only: ``key=pattern`` filters, as of ``--only``.
        shard: ``i/n``, as of ``--shard``.
        jobs: runs at a time, instead of what the suite's executor says.
        force: do also what is done already.
        retry_failed: do also what has failed.
        cache_dir: of prepared data.
        on_event: told what happens, see :mod:`sharkbench.runner.events`.

    Raises:
        InputError: the suite or an argument cannot be meant, or data is missing.
    """
    from sharkbench.runner import run_suite
    from sharkbench.suite.model import Suite

    suite = suite if isinstance(suite, Suite) else load_suite(suite, settings)
    return run_suite(
        suite,
        plan(suite, only, cache_dir, shard),
        output_directory(suite, out),
        jobs=jobs or suite.jobs,
        force=force,
        retry_failed=retry_failed,
        cache_dir=cache_dir,
        on_event=on_event,
    )


def output_directory(suite: Suite, out: Path | str | None = None) -> Path:
    """Where everything of a suite lies."""
    return Path(out) if out is not None else Path("results") / suite.name


def load(path: Path | str, unknown: Unknown = "raise") -> PackedLayer:
    """The compressed table of a finished run (its folder, or its ``packed.safetensors``): ids ``[B, S]`` to vectors.

    Args:
        unknown: what an id outside its field's rows does: ``"raise"`` an InputError, or read the row of ``"unseen"``
            values.

    Raises:
        InputError: ``unknown`` is neither.
        ArtifactError: missing, truncated, corrupted, or untrue about itself.
    """
    from sharkbench.model import artifact

    return artifact.load(path, unknown)
