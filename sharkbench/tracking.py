"""MLflow as a view of the store: experiment = suite, parent run = one invocation, child run = one run.

Everything here can be made again from the store, so nothing here may be the only copy of anything. Database, experiment
and parent runs are made by one process at a time. Importing MLflow takes seconds, so it is imported late.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from sharkbench.store import SPEED, Epoch, Quality, Result, Speed, Store
from sharkbench.suite.model import Suite

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

KEY, STARTED, INVOCATION, MEASURED = (f"sharkbench.{tag}" for tag in ("key", "started", "invocation", "measured"))
DATABASE = "mlflow.db"
_NAME = re.compile(r"[^\w\-. /]")
_VALUE_LENGTH = 6000
_BATCH = 100


def tracking_uri(suite: Suite, out: Path) -> str:
    """Where the suite's records go: what it states, else an SQLite file in its output directory."""
    return suite.tracking.uri or f"sqlite:///{(out / DATABASE).resolve()}"


def without_secrets(text: str) -> str:
    """``text`` with user names, passwords and query strings of all addresses in it replaced by ``***``."""
    text = re.sub(r"(\w[\w+.-]*://)[^/\s@]*@", r"\1***@", text)
    return re.sub(r"(\w[\w+.-]*://[^\s?'\"]*)\?[^\s'\"]*", r"\1?***", text)


def track(suite: Suite, out: Path) -> int:
    """Record everything in the store that is not recorded yet; returns the number of runs that were added.

    Raises:
        Exception: whatever MLflow raises where the records cannot be reached.
    """
    tracker = Tracker(suite, Store(out))
    added = sum(tracker.add(result.key) for result in tracker.store.results())
    tracker.close()
    return added


def attach(suite: Suite, out: Path, files: Iterable[Path]) -> bool:
    """Hang files under ``out`` on the newest parent run, in their folders; returns whether there is one."""
    if not suite.tracking.enabled or not (suite.tracking.uri or (out / DATABASE).exists()):
        return False
    client = _client(tracking_uri(suite, out))
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


class Tracker:
    """Writes records of one suite. Makes the database and the experiment where there are none.

    Args:
        invocation: whose parent run to begin now; others are made when a run of theirs is added.
    """

    def __init__(self, suite: Suite, store: Store, invocation: str | None = None) -> None:
        self.suite, self.store = suite, store
        with store.lock("tracking"):
            if not suite.tracking.uri and not (store.out / DATABASE).exists():
                self._make_database()
            self.client = _client(tracking_uri(suite, store.out))
            self.experiment = self._experiment()
            self.parents, self.children = self._known()
        self._open: set[str] = set()
        if invocation is not None:
            self._parent(invocation)

    def add(self, key: str) -> bool:
        """Record a stored run and its speed, unless they are; returns whether the run was new."""
        result = self.store.get(key)
        if result is None:
            return False
        with self.store.lock("tracking"):
            known = (key, result.started)
            new = known not in self.children
            if new:
                self.children[known] = self._child(result)
            speed = self.store.speed(key)
            if speed is not None:
                self._add_speed(self.children[known], result, speed)
        return new

    def close(self, *, interrupted: bool = False) -> None:
        """End the parent runs that were begun or added to, with the tables as they are now."""
        for invocation in self._open:
            run = self.parents[invocation]
            for name in ("leaderboard.csv", "runs.csv"):
                if (self.store.out / name).is_file():
                    self.client.log_artifact(run, str(self.store.out / name))
            self.client.set_terminated(run, "KILLED" if interrupted else "FINISHED")
        self._open.clear()

    def _make_database(self) -> None:
        """Elsewhere and then in one rename: half its tables are worse than none, and making them takes seconds."""
        for leftover in self.store.out.glob(f".{DATABASE}.*"):
            leftover.unlink()
        scratch = self.store.out / f".{DATABASE}.{secrets.token_hex(4)}"
        _client(f"sqlite:///{scratch.resolve()}").search_experiments(max_results=1)
        scratch.rename(self.store.out / DATABASE)

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.suite.name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # Beside the database if that is ours; a server has its own place for artifacts.
        place = None if self.suite.tracking.uri else (self.store.out / "mlartifacts").resolve().as_uri()
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
                    self.client.delete_run(run.info.run_id)  # its record was cut off halfway, and is made again
                elif KEY in tags:
                    children[tags[KEY], tags.get(STARTED, "")] = run.info.run_id
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
            # Without its tracking section: an address may carry a password.
            settings = self.suite.model_dump(mode="json", exclude={"tracking"}, warnings=False)
            self.client.log_dict(run.info.run_id, settings, "suite.json")
        self._open.add(invocation)
        return self.parents[invocation]

    def _child(self, result: Result) -> str:
        from mlflow.entities import Param

        environment = self.store.environment(result.key)
        spec = self.store.spec(result.key)
        begun = _milliseconds(result.started)
        tags = {
            "mlflow.parentRunId": self._parent(environment.invocation if environment else "unknown"),
            KEY: result.key,
            STARTED: result.started,
            "sharkbench.status": result.status,
            "sharkbench.kind": result.kind,
            "sharkbench.reason": result.reason,
            "sharkbench.method_version": result.method_version,
            "sharkbench.data_fingerprint": result.data_fingerprint,
            "sharkbench.git_revision": environment.git_revision if environment else None,
            "sharkbench.git_dirty": environment.git_dirty if environment else None,
            "sharkbench.hardware": ", ".join([environment.cpu, *environment.gpus]) if environment else None,
        }
        texts = {tag: str(value)[:_VALUE_LENGTH] for tag, value in tags.items() if value is not None}
        run = self.client.create_run(self.experiment, start_time=begun, tags=texts, run_name=_title(result))
        number = str(run.info.run_id)
        settings = spec.model_dump(mode="json", include={"train", "backbone", "task"}) if spec else {}
        self._log(number, _metrics(_measurements(result), begun))
        self._log(number, _curves(result.history, begun))
        params = [Param(name, value) for name, value in _params(result, settings).items()]
        for i in range(0, len(params), _BATCH):
            self.client.log_batch(number, params=params[i : i + _BATCH])
        self._add_dataset(number, result, spec.dataset.model_dump(mode="json") if spec else {})
        self._attach(number, str(run.info.artifact_uri), self.store.directory(result.key))
        status = "FAILED" if result.status == "failed" else "FINISHED"
        self.client.set_terminated(number, status, begun + int(result.seconds * 1000))
        return number

    def _add_speed(self, run: str, result: Result, speed: Speed) -> None:
        if MEASURED in self.client.get_run(run).data.tags:
            return
        self._log(run, _metrics(_speeds(speed), _milliseconds(result.started)))
        self._attach(run, str(self.client.get_run(run).info.artifact_uri), self.store.directory(result.key), (SPEED,))
        self.client.set_tag(run, MEASURED, "true")

    def _log(self, run: str, metrics: Iterable[Metric]) -> None:
        batch = list(metrics)
        for i in range(0, len(batch), _BATCH):
            self.client.log_batch(run, metrics=batch[i : i + _BATCH])

    def _add_dataset(self, run: str, result: Result, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        about = Dataset(
            name=result.dataset,
            digest=result.data_fingerprint[:36],
            source_type=str(settings.get("source", "unknown")),
            source=json.dumps(settings),
        )
        tags = [InputTag("mlflow.data.context", f"{result.split} split")]
        self.client.log_inputs(run, datasets=[DatasetInput(about, tags)])

    def _attach(self, run: str, uri: str, directory: Path, names: Iterable[str] | None = None) -> None:
        files = [directory / name for name in names] if names else sorted(directory.iterdir())
        local = Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else None
        for file in files:
            if local is None:
                self.client.log_artifact(run, str(file))
            else:
                # A link where the disk allows it: tables can be large, and stored files never change.
                local.mkdir(parents=True, exist_ok=True)
                (local / file.name).unlink(missing_ok=True)
                try:
                    os.link(file, local / file.name)
                except OSError:
                    shutil.copyfile(file, local / file.name)


def _client(uri: str) -> MlflowClient:
    # Before MLflow is imported: it reports to its makers unless told not to, and tries for minutes to reach a server.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What goes wrong with the database is raised and told in one line; its traceback is not wanted on the terminal.
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def _title(result: Result) -> str:
    budget = f" {result.budget}" if result.budget else ""
    return f"{result.method_label}{budget} {result.backbone} {result.dataset} seed {result.seed}"


def _params(result: Result, settings: Mapping[str, Any]) -> dict[str, str]:
    stated = {
        "dataset": result.dataset,
        "split": result.split,
        "backbone": result.backbone,
        "method": result.method,
        "method_label": result.method_label,
        "dimension": result.dimension,
        "budget": result.budget,
        "budget_bytes": result.budget_bytes,
        "seed": result.seed,
        **dict(_flat("method", result.method_config)),
        **{name: value for group, found in settings.items() for name, value in _flat(group, found)},
    }
    return {_NAME.sub("_", name): str(value)[:_VALUE_LENGTH] for name, value in stated.items() if value is not None}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # A tagged setting is named by its tag: {"name": "adam", ...} under "optimizer" is optimizer=adam.
            yield from [(prefix, inner)] if name == "name" else _flat(f"{prefix}.{name}", inner)
    else:
        yield prefix, json.dumps(value) if isinstance(value, list | tuple) else value


def _measurements(result: Result) -> Iterator[tuple[str, float | None]]:
    yield from _qualities("", result.quality)
    yield from _qualities("valid_", result.quality_valid)
    yield from ((f"pack_gap_{label}", gap) for label, gap in result.pack_gap.items())
    yield "bytes", result.bytes
    yield "bytes_ratio", result.bytes_ratio
    yield "param_ratio", result.param_ratio
    yield "backbone_bytes", result.backbone_bytes
    yield "seconds", result.seconds
    if result.training is not None:
        yield "train_seconds", result.training.seconds
        yield "train_samples_per_second", result.training.samples_per_second
        yield "train_peak_bytes", result.training.peak_memory_bytes
        yield "train_epochs", result.training.epochs


def _qualities(prefix: str, qualities: Mapping[str, Quality]) -> Iterator[tuple[str, float | None]]:
    """Each metric of each label, and under its own name the mean over the labels that have it."""
    for metric in ("auc", "logloss", "normalized_entropy", "ece", "gauc"):
        values = {label: getattr(quality, metric) for label, quality in qualities.items()}
        yield from ((f"{prefix}{metric}_{label}", value) for label, value in values.items())
        known = [value for value in values.values() if value is not None]
        if known:
            yield f"{prefix}{metric}", sum(known) / len(known)


def _speeds(speed: Speed) -> Iterator[tuple[str, float | None]]:
    own = min((timing.rows for timing in speed.lookups), default=0)
    for timing in speed.lookups:
        # The plain names are those of the data's own ids and size; a larger table and other ids say so.
        suffix = "" if timing.stream == "data" else f"_{timing.stream}"
        suffix += "" if timing.rows == own else "_large"
        yield f"lookups_per_second{suffix}", timing.per_second
        yield f"lookup_ratio_torch{suffix}", timing.ratio_torch
        yield f"lookup_ratio_fp32{suffix}", timing.ratio_fp32
    yield "model_samples_per_second", speed.model_samples_per_second
    yield "model_ratio_fp32", speed.model_ratio_fp32
    yield "model_samples_per_second_large", speed.large_model_samples_per_second
    yield "model_ratio_fp32_large", speed.large_model_ratio_fp32


def _curves(history: Iterable[Epoch], begun: int) -> Iterator[Metric]:
    steps: dict[str, int] = {}
    for epoch in history:
        step = steps[epoch.stage] = steps.get(epoch.stage, -1) + 1
        values = [
            ("train_loss", epoch.train_loss),
            ("learning_rate", epoch.learning_rate),
            *((f"valid_auc_{label}", value) for label, value in epoch.valid_auc.items()),
            *((f"valid_logloss_{label}", value) for label, value in epoch.valid_logloss.items()),
        ]
        yield from _metrics(((f"{epoch.stage}/{name}", value) for name, value in values), begun, step)


def _metrics(values: Iterable[tuple[str, float | None]], begun: int, step: int = 0) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for name, value in values:
        if value is not None and math.isfinite(value):
            yield Metric(_NAME.sub("_", name), float(value), begun, step)
