"""Writes the MLflow records of one suite: parent runs, each with a child run for every stored run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlparse

from sharkbench.results.records import Result, Speed
from sharkbench.results.store import SPEED, Store
from sharkbench.suite.freshness import Freshness
from sharkbench.suite.model import Suite
from sharkbench.tracking import entries, names
from sharkbench.tracking.client import SQLITE, client_of, reason, sqlite_file, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param

KEY, STARTED, INVOCATION, MEASURED, BUSY, STATE = (
    f"sharkbench.{tag}" for tag in ("key", "started", "invocation", "measured", "timed_on_a_busy_machine", "code_state")
)
_BATCH, _REQUEST = 100, 500_000
"""Largest number of entries, and approximate number of bytes, of one request; a server refuses twice as many."""
_TOLD = 3
"""Number of refused values to report."""
Entry = TypeVar("Entry", "Metric", "Param")


class Tracker:
    """Writes records of one suite. Creates the database and the experiment if there are none.

    Values that MLflow refuses are left out permanently and listed in ``refused``; the rest is recorded.

    Args:
        invocation: invocation whose parent run to start now; others are created when one of their runs is added.
    """

    def __init__(self, suite: Suite, store: Store, invocation: str | None = None) -> None:
        self.suite, self.store, self.uri = suite, store, tracking_uri(suite, store.out)
        self.refused: list[str] = []
        with store.lock("tracking"):
            database = sqlite_file(self.uri)
            if database is not None and not database.exists():
                _make_database(database, store.out)
            self.client = client_of(self.uri)
            self.experiment = self._experiment()
            self._states: dict[str, str] = {}
            self.parents, self.children = self._known()
        self._open: set[str] = set()
        if invocation is not None:
            self._parent(invocation)

    def add(self, key: str) -> bool:
        """Record a stored run and its speed, unless recorded already; returns whether the run was new."""
        result = self.store.get(key)
        if result is None:
            return False
        with self.store.lock("tracking"):
            known = (key, result.started)
            new = known not in self.children
            if new:
                with self._refusable(f"the run '{entries.title(result)}'"):
                    self.children[known] = self._child(result)
            speed = self.store.speed(key)
            if speed is not None and known in self.children:
                self._add_speed(self.children[known], result, speed)
        return new and known in self.children

    def refusals(self) -> str:
        """The values that MLflow refused, in one line; empty if there are none."""
        if not self.refused:
            return ""
        more = f"; and {len(self.refused) - _TOLD:,} more" if len(self.refused) > _TOLD else ""
        return f"MLflow refused {'; '.join(self.refused[:_TOLD])}{more}; all else is recorded, and all is stored"

    def close(self, *, interrupted: bool = False) -> None:
        """End the parent runs that were started or extended, attach the present tables, and tag stale runs."""
        self._mark_states()
        for invocation in self._open:
            run = self.parents[invocation]
            for name in ("leaderboard.csv", "runs.csv"):
                if (self.store.out / name).is_file():
                    self.client.log_artifact(run, str(self.store.out / name))
            self.client.set_terminated(run, "KILLED" if interrupted else "FINISHED")
        self._open.clear()

    def _mark_states(self) -> None:
        """Tag the records of runs with their state relative to the present code; with ``gone`` if the run is no longer
        stored, or stored under a newer key."""
        code, stored = Freshness(self.store), {(r.key, r.started): r for r in self.store.results()}
        for known, run in self.children.items():
            state = code.state(stored[known]) if known in stored else "gone"
            if state != self._states.get(run, "fresh"):
                self.client.set_tag(run, STATE, state)
                self._states[run] = state

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.suite.name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # Artifacts are beside the database if that is a file; a server has its own location.
        database = sqlite_file(tracking_uri(self.suite, self.store.out))
        place = (database.parent / "mlartifacts").resolve().as_uri() if database is not None else None
        return str(self.client.create_experiment(self.suite.name, artifact_location=place))

    def _known(self) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
        parents: dict[str, str] = {}
        children: dict[tuple[str, str], str] = {}
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                if KEY in tags and run.info.status not in ("FINISHED", "FAILED"):
                    self.client.delete_run(run.info.run_id)  # the record is incomplete, and is created again
                elif KEY in tags:
                    children[tags[KEY], tags.get(STARTED, "")] = run.info.run_id
                    self._states[run.info.run_id] = tags.get(STATE, "fresh")
                elif INVOCATION in tags:
                    parents[tags[INVOCATION]] = run.info.run_id
            token = page.token
            if not token:
                return parents, children

    def _parent(self, invocation: str) -> str:
        if invocation not in self.parents:
            run = self.client.create_run(
                self.experiment, tags={INVOCATION: invocation, "sharkbench.suite": self.suite.name}, run_name=invocation
            )
            self.parents[invocation] = run.info.run_id
            # Without addresses, which may contain a password.
            settings = self.suite.model_dump(
                mode="json", exclude={"tracking": True, "search": {"storage"}}, warnings=False
            )
            self.client.log_dict(run.info.run_id, settings, "suite.json")
        self._open.add(invocation)
        return self.parents[invocation]

    def _child(self, result: Result) -> str:
        from mlflow.entities import Param

        environment = self.store.environment(result.key)
        spec = self.store.spec(result.key)
        begun = entries.milliseconds(result.started)
        tags = {
            "mlflow.parentRunId": self._parent(environment.invocation if environment else "unknown"),
            KEY: result.key,
            STARTED: result.started,
            "sharkbench.status": result.status,
            "sharkbench.kind": result.kind,
            "sharkbench.reason": result.reason,
            "sharkbench.code": result.code,
            "sharkbench.data_fingerprint": result.data_fingerprint,
            "sharkbench.git_revision": environment.git_revision if environment else None,
            "sharkbench.git_dirty": environment.git_dirty if environment else None,
            "sharkbench.hardware": environment.hardware if environment else None,
        }
        texts = {tag: names.value(str(value)) for tag, value in tags.items() if value is not None}
        run = self.client.create_run(self.experiment, start_time=begun, tags=texts, run_name=entries.title(result))
        number = str(run.info.run_id)
        settings = spec.model_dump(mode="json", include={"train", "backbone", "task"}) if spec else {}
        self.log(number, entries.metrics(entries.measurements(result), begun))
        self.log(number, entries.curves(result.history, begun))
        params = [Param(name, value) for name, value in entries.params(result, settings).items()]
        for batch in _batches(params):
            self._send(lambda some: self.client.log_batch(number, params=some), batch)
        self._add_dataset(number, result, spec.dataset.model_dump(mode="json") if spec else {})
        self._attach(number, str(run.info.artifact_uri), self.store.directory(result.key))
        status = "FAILED" if result.status == "failed" else "FINISHED"
        self.client.set_terminated(number, status, begun + int(result.seconds * 1000))
        return number

    def _add_speed(self, run: str, result: Result, speed: Speed) -> None:
        if MEASURED in self.client.get_run(run).data.tags:
            return
        self.log(run, entries.metrics(entries.speeds(speed), entries.milliseconds(result.started)))
        self._attach(run, str(self.client.get_run(run).info.artifact_uri), self.store.directory(result.key), (SPEED,))
        self.client.set_tag(run, BUSY, str(speed.busy).lower())
        self.client.set_tag(run, MEASURED, "true")

    def log(self, run: str, metrics: Iterable[Metric]) -> None:
        """Add metrics to a run."""
        for batch in _batches(list(metrics)):
            self._send(lambda some: self.client.log_batch(run, metrics=some), batch)

    def _send(self, send: Callable[[list[Entry]], object], batch: list[Entry]) -> None:
        """Send all entries together, or one by one if any is refused."""
        if len(batch) == 1:
            with self._refusable(f"'{batch[0].key}'"):
                send(batch)
            return
        try:
            send(batch)
        except Exception as error:
            if not _is_refusal(error):
                raise
            for entry in batch:
                self._send(send, [entry])

    @contextmanager
    def _refusable(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not _is_refusal(error):
                raise
            self.refused.append(f"{what} ({reason(error, self.uri)})")

    def _add_dataset(self, run: str, result: Result, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        about = Dataset(
            name=names.value(result.dataset, names.DATASET_NAME_LENGTH),
            digest=result.data_fingerprint[:36],
            source_type=str(settings.get("source", "unknown")),
            source=names.source(settings),
        )
        tags = [InputTag("mlflow.data.context", f"{result.split} split")]
        with self._refusable(f"the data set '{about.name}'"):
            self.client.log_inputs(run, datasets=[DatasetInput(about, tags)])

    def _attach(self, run: str, uri: str, directory: Path, names: Iterable[str] | None = None) -> None:
        found = [directory / name for name in names] if names else sorted(directory.iterdir())
        files = [file for file in found if file.is_file() and not file.is_symlink()]
        local = Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else None
        for file in files:
            if local is None:
                self.client.log_artifact(run, str(file))
            else:
                # A hard link if the file system allows it: tables can be large, and stored files never change.
                local.mkdir(parents=True, exist_ok=True)
                (local / file.name).unlink(missing_ok=True)
                try:
                    os.link(file, local / file.name)
                except OSError:
                    shutil.copyfile(file, local / file.name)


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        own = len(json.dumps([entry.key, entry.value]))
        if batch and (len(batch) == _BATCH or size + own > _REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += own
    if batch:
        yield batch


def _is_refusal(error: Exception) -> bool:
    """Whether MLflow was reached and refuses the values permanently."""
    return getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def _make_database(path: Path, out: Path) -> None:
    """Create the database under a temporary name and rename it: incomplete tables are worse than none.

    Args:
        out: output directory whose lock is held, so that temporary files there are leftovers of dead processes.
    """
    for leftover in out.glob(f".{path.name}.*"):
        leftover.unlink()
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        client_of(f"{SQLITE}{scratch.resolve()}").search_experiments(max_results=1)
        try:
            os.link(scratch, path)
        except FileExistsError:
            pass  # another suite has created it in the meantime
        except OSError:
            scratch.rename(path)  # a file system without links
    finally:
        scratch.unlink(missing_ok=True)
