"""Runs as tasks of a Ray cluster. Every task starts the process of its run as it would be started on this machine.

Nodes share the output directory, the cache of prepared data and the directory that the command was typed in, under the
same paths. Results lie there, and Ray carries nothing but the order and how it ended: a driver that dies and comes back
finds all that was finished in the store, as it would after local runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sharkbench.data.cache import default_cache_dir
from sharkbench.errors import InputError
from sharkbench.runner.failures import one_line
from sharkbench.runner.processes import Processes, Worker
from sharkbench.suite.executors import RayExecutor

try:
    import ray
except ImportError as missing:
    raise InputError(
        f"'executor: ray' needs Ray, which cannot be imported ({missing}); pip install 'sharkbench[ray]'"
    ) from None

_TICK_SECONDS = 0.5
_ABORT_SECONDS = 2.0
_FORCE_SECONDS = 30.0
"""For a task to end its run with all that it has started: what Ray ends by force leaves children of children behind."""
_PATIENCE_SECONDS = 10.0
_STORE_BYTES = 100 * 2**20
"""Of a cluster that is started here: nothing that is large goes through Ray's object store."""


@dataclass
class _Task:
    worker: Worker
    ref: Any
    events: Path
    told: int = 0
    """Lines of ``events`` that have been passed on."""
    cancelled: bool = False
    force_at: float | None = None
    """When to end it by force, if it is still there."""


class RayTasks:
    """Like :class:`~sharkbench.runner.processes.Processes`, on the nodes of a cluster.

    Args:
        preload: modules that the process of a run has imported before its job begins.
        threads: CPUs of a run where ``config`` does not say how many.

    Raises:
        InputError: the cluster cannot be reached, or has no room for a run and never will.
    """

    def __init__(self, config: RayExecutor, preload: Sequence[str], *, threads: int) -> None:
        self.config, self.preload = config, tuple(preload)
        self.options: dict[str, Any] = {
            "num_cpus": threads if config.num_cpus is None else config.num_cpus,
            "num_gpus": config.num_gpus,
            "resources": dict(config.resources),
            **({"memory": config.memory} if config.memory else {}),
        }
        self.tasks: dict[int, _Task] = {}
        self._started = 0
        self._owns_connection = not ray.is_initialized()
        if self._owns_connection:
            _connect(config.address)
        if config.address == "local" and not _nodes_for(self.options):
            self.close()
            wanted = ", ".join(f"{key} {value}" for key, value in self.options.items() if value)
            raise InputError(f"executor: this machine never has what one run is to get ({wanted}); ask for less")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self) -> None:
        """Nothing: the processes of runs start where Ray puts them."""

    def start(self, call: str, arguments: Mapping[str, Any], log: Path) -> Worker:
        """Hand ``call`` to Ray, which starts it as soon as there is room.

        Args:
            log: file that gets all that the process prints; what it sends comes through a file beside it.
        """
        self._started += 1
        worker = Worker(self._started)
        for leftover in log.absolute().parent.glob(".events-*"):  # of a dead process: who starts a run has its lock
            leftover.unlink(missing_ok=True)
        events = log.absolute().with_name(f".events-{os.getpid()}-{worker.number}")
        order = {
            "call": call,
            "arguments": dict(arguments),
            "log": str(log.absolute()),
            "events": str(events),
            "preload": self.preload,
            "place": _place(),
        }
        ref = _REMOTE.options(**self.options).remote(order)
        self.tasks[worker.number] = _Task(worker, ref, events)
        return worker

    def wait(self, seconds: float) -> list[Worker]:
        """Workers that have begun, sent something or ended, as soon as there is one or after ``seconds``.

        Raises:
            InputError: a node cannot do what the cluster is for.
        """
        end = time.monotonic() + seconds
        while True:
            tick = max(0.0, min(_TICK_SECONDS, end - time.monotonic()))
            if not self.tasks:
                time.sleep(tick)
                ended: list[Any] = []
            else:
                ended, _ = ray.wait([task.ref for task in self.tasks.values()], num_returns=1, timeout=tick)
            touched = [task.worker for task in list(self.tasks.values()) if self._look_at(task, task.ref in ended)]
            for task in self.tasks.values():
                if task.force_at is not None and time.monotonic() > task.force_at:
                    ray.cancel(task.ref, force=True)
            if touched or time.monotonic() >= end:
                return touched

    def kill(self, worker: Worker, number: int = signal.SIGKILL) -> None:
        """End a worker and all that it has started; its process says first where it was, if it has the time."""
        if (task := self.tasks.get(worker.number)) is not None:
            self._cancel(task)
            if number == signal.SIGKILL and task.force_at is None:
                task.force_at = time.monotonic() + _FORCE_SECONDS

    def alone(self) -> RayTasks:
        """One whose workers take all CPUs and GPUs of one node, always the same, so that Ray starts nothing beside."""
        nodes = _nodes_for(self.options)
        if not nodes:
            return self  # whoever waits for a node to come will have it first
        node = min(nodes, key=lambda one: (one["NodeManagerHostname"], one["NodeID"]))
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        other = RayTasks(self.config, self.preload, threads=1)
        other.options = {
            **self.options,
            "num_cpus": node["Resources"]["CPU"],
            "num_gpus": node["Resources"].get("GPU", 0),
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        }
        return other

    def close(self) -> None:
        """End every worker, and the connection to the cluster if it was made here."""
        for task in self.tasks.values():
            with contextlib.suppress(Exception):
                self._cancel(task)
        references = [task.ref for task in self.tasks.values()]
        with contextlib.suppress(Exception):
            ray.wait(references, num_returns=len(references), timeout=_FORCE_SECONDS)
        for task in self.tasks.values():
            with contextlib.suppress(Exception):
                ray.cancel(task.ref, force=True)
            task.events.unlink(missing_ok=True)
        self.tasks.clear()
        if self._owns_connection:
            self._owns_connection = False
            ray.shutdown()

    @staticmethod
    def _cancel(task: _Task) -> None:
        """Ask once: a second interrupt would come while the first is obeyed."""
        if not task.cancelled:
            task.cancelled = True
            ray.cancel(task.ref, force=False)

    def _look_at(self, task: _Task, ended: bool) -> bool:
        """Whether there is news of it."""
        said = _lines(task.events)
        if ended:
            del self.tasks[task.worker.number]
            said = self._end(task) or said
            task.events.unlink(missing_ok=True)
        new, task.told = said[task.told :], max(task.told, len(said))
        for event in new:
            if "host" in event:
                task.worker.began = time.monotonic()
            else:
                task.worker.events.append(event)
        return ended or bool(new)

    def _end(self, task: _Task) -> list[dict[str, Any]]:
        """Everything that it has sent, if it could still say so."""
        worker = task.worker
        worker.exit_code = -int(signal.SIGKILL)
        try:
            told: dict[str, Any] = ray.get(task.ref)
        except ray.exceptions.TaskCancelledError:
            return []
        except ray.exceptions.RayTaskError as error:
            # Not the run's error, which its own process has told, but one on the way to it.
            raise InputError(f"executor: a node of the cluster cannot do runs: {one_line(error.cause)}") from None
        except ray.exceptions.OutOfMemoryError:
            worker.memory_ran_out = True
            return []
        except ray.exceptions.RayError as error:
            worker.lost = f"Ray has lost its worker or node ({type(error).__name__})"
            return []
        worker.exit_code, worker.memory_ran_out = told["exit"], told["memory ran out"]
        events: list[dict[str, Any]] = told["events"]
        return events


def _do(order: Mapping[str, Any]) -> dict[str, Any]:
    """On a node, in a process that does nothing else: start the process of the run, wait for it, and say how it ended.

    Raises:
        InputError: the node does not see the directories.
    """
    # A polite cancellation is an interrupt, which a worker of a cluster that was started in the background ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place, log, sent = order["place"], Path(order["log"]), Path(order["events"])
    for directory in (place["directory"], log.parent):
        if not Path(directory).is_dir():
            raise InputError(f"{socket.gethostname()} does not see {directory}, which all nodes have to share")
    os.chdir(place["directory"])
    os.environ.update(place["environment"])
    if "OMP_NUM_THREADS" not in place["environment"]:
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray has set it; runs say themselves how many threads they use
    sys.path.extend(path for path in place["path"] if path not in sys.path)
    events: list[dict[str, Any]] = [{"host": socket.gethostname()}]
    with Processes(order["preload"]) as processes, sent.open("a", encoding="utf-8", buffering=1) as file:
        worker = processes.start(order["call"], order["arguments"], log)
        file.write(json.dumps(events[0]) + "\n")
        with _aborting(processes, worker):
            while worker.exit_code is None:
                processes.wait(_TICK_SECONDS)  # a cancellation does not wake it up
                for event in worker.take_events():
                    events.append(event)
                    file.write(json.dumps(event) + "\n")
    return {"exit": worker.exit_code, "memory ran out": worker.memory_ran_out, "events": events}


# A process of its own for every run. What is lost is done again by the schedule, which gives it a new directory.
_REMOTE = ray.remote(max_calls=1, max_retries=0)(_do)


@contextlib.contextmanager
def _aborting(processes: Processes, worker: Worker) -> Iterator[None]:
    """A polite cancellation arrives as an interrupt; the process then leaves a traceback in the log and goes."""
    try:
        yield
    except KeyboardInterrupt:
        processes.kill(worker, signal.SIGABRT)
        end = time.monotonic() + _ABORT_SECONDS
        while worker.exit_code is None and time.monotonic() < end:
            processes.wait(0.1)
        raise


def _connect(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    with _own_signals():
        try:
            if ":" in address:  # Ray itself would try for minutes
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
            ray.init(
                address=address, log_to_driver=False, logging_level="error", **(here if address == "local" else {})
            )
        except OSError as error:
            advice = "start one with 'ray start --head', or say 'address: local'"
            raise InputError(f"executor: no Ray cluster at '{address}' ({one_line(error)}); {advice}") from None


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes over SIGTERM when it connects; it is given back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _place() -> dict[str, Any]:
    """What a run finds around it on this machine, to be found on its node too."""
    kept = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE")
    return {
        "directory": str(Path.cwd()),
        "environment": {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "SHARKBENCH_CACHE": str(default_cache_dir().absolute()),
        },
        "path": [str(Path(path).absolute()) for path in sys.path if path],
    }


def _nodes_for(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Living nodes that a task with ``options`` fits on when nothing else is there."""
    wanted = {
        "CPU": options["num_cpus"],
        "GPU": options["num_gpus"],
        "memory": options.get("memory", 0),
        **options["resources"],
    }
    return [
        node
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) > 0
        and all(node["Resources"].get(name, 0) >= amount for name, amount in wanted.items())
    ]


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines that are there by now."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
