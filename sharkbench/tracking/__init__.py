"""MLflow as a view of the store: experiment = suite, parent run = one invocation, child run = one run.

Everything here can be made again from the store, so nothing here may be the only copy of anything. Database, experiment
and parent runs are made by one process at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from sharkbench.results.store import Store
from sharkbench.suite.model import Suite
from sharkbench.tracking.client import DATABASE, client_of, reason, tracking_uri, without_secrets
from sharkbench.tracking.tracker import INVOCATION, Tracker

UNTRACKED = ".untracked"
"""A file under the output directory that says that records are missing. It is there while runs are being recorded, and
stays where this process dies or MLflow fails."""

__all__ = ["DATABASE", "UNTRACKED", "Tracker", "attach", "reason", "track", "tracking_uri", "without_secrets"]


def track(suite: Suite, out: Path, tell: Callable[[str], None] = warnings.warn) -> int:
    """Record everything in the store that is not recorded yet; returns the number of runs that were added.

    Args:
        tell: gets a line on what MLflow refused, if it did.

    Raises:
        Exception: whatever MLflow raises where the records cannot be reached.
    """
    tracker = Tracker(suite, Store(out))
    added = sum(tracker.add(result.key) for result in tracker.store.results())
    tracker.close()
    if refused := tracker.refusals():
        tell(refused)
    (out / UNTRACKED).unlink(missing_ok=True)
    return added


def attach(suite: Suite, out: Path, files: Iterable[Path]) -> bool:
    """Hang files under ``out`` on the newest parent run, in their folders; returns whether there is one.

    Not while records are missing: they could not be reached a moment ago, or are of another call.
    """
    if not suite.tracking.enabled or not (suite.tracking.uri or (out / DATABASE).exists()):
        return False
    if (out / UNTRACKED).exists():
        return False
    client = client_of(tracking_uri(suite, out))
    experiment = client.get_experiment_by_name(suite.name)
    newest = experiment and client.search_runs(
        [experiment.experiment_id],
        filter_string=f"tags.`{INVOCATION}` LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    for file in files if newest else ():
        folder = file.parent.relative_to(out).as_posix()
        client.log_artifact(newest[0].info.run_id, str(file), None if folder == "." else folder)
    return bool(newest)
