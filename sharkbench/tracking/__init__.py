"""MLflow as a view of the store: experiment = suite, parent run = one invocation, child run = one run.

All records can be created again from the store, so no record may be the only copy of anything. Only one process at a
time creates the database, the experiment and parent runs.
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
"""A file under the output directory that marks missing records. It exists while runs are being recorded, and remains if
this process dies or MLflow fails."""

__all__ = ["DATABASE", "UNTRACKED", "Tracker", "attach", "reason", "track", "tracking_uri", "without_secrets"]


def track(suite: Suite, out: Path, tell: Callable[[str], None] = warnings.warn) -> int:
    """Record all stored runs that are not recorded yet; returns their number.

    Args:
        tell: called with one line if MLflow refused any values.

    Raises:
        Exception: any exception of MLflow if the records cannot be reached.
    """
    tracker = Tracker(suite, Store(out))
    added = sum(tracker.add(result.key) for result in tracker.store.results())
    tracker.close()
    if refused := tracker.refusals():
        tell(refused)
    (out / UNTRACKED).unlink(missing_ok=True)
    return added


def attach(suite: Suite, out: Path, files: Iterable[Path]) -> bool:
    """Attach files under ``out``, with their folders, to the newest parent run; returns whether there is one.

    Does nothing while records are missing: MLflow was unreachable, or another call is recording.
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
