"""Times the lookups of finished runs, one run at a time; no other run on this machine is active meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from filelock import FileLock, Timeout

from sharkbench.data.cache import default_cache_dir
from sharkbench.keys.closure import Snapshot
from sharkbench.results.records import Speed
from sharkbench.results.store import LOG, Store
from sharkbench.runner.events import Event, MeasureEnded, MeasureStarted, Message
from sharkbench.runner.executors import Executor
from sharkbench.runner.failures import kind_of_exit
from sharkbench.runner.job import Job
from sharkbench.suite.freshness import outdated
from sharkbench.suite.run import RunSpec, present_code


def unmeasured(store: Store, specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Runs with status ok that are to be timed and have no speed by the present formats and kernels."""
    code = present_code()
    return [spec for spec in specs if spec.measure.lookup and _lacks_speed(store, spec, code)]


def measure_all(job: Job, specs: Iterable[RunSpec], processes: Executor, tell: Callable[[Event], None]) -> None:
    """Time every run of ``specs``. A run that cannot be timed stays ok; the reason is stored."""
    folder = job.cache_dir or default_cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    processes = processes.alone()
    machine, code = FileLock(folder / "measuring.lock"), present_code()
    try:
        machine.acquire(timeout=0)
    except Timeout:
        tell(Message("waiting for another sharkbench on this machine to finish measuring"))
        machine.acquire()
    try:
        for spec in specs:
            lock = job.store.lock(spec.key)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue  # another process repeats this run, and will measure it
            try:
                if _lacks_speed(job.store, spec, code):
                    tell(MeasureStarted(spec.key))
                    job.store.write_speed(spec.key, _measured(job, spec, processes, tell))
                    tell(MeasureEnded(spec.key))
            finally:
                lock.release()
    finally:
        machine.release()


def _lacks_speed(store: Store, spec: RunSpec, code: Snapshot) -> bool:
    # In this order: most runs of a large store have been timed, and results take longer to read.
    speed = store.speed(spec.key)
    if speed is not None and not (store.has_model(spec.key) and outdated(spec, speed, code)):
        return False
    result = store.get(spec.key)
    return result is not None and result.status == "ok"


def _measured(job: Job, spec: RunSpec, processes: Executor, tell: Callable[[Event], None]) -> Speed | str:
    directory = job.store.directory(spec.key)
    arguments = {
        "directory": str(directory),
        "cache_dir": str(job.cache_dir) if job.cache_dir else None,
        "measure": job.measure,
    }
    worker = processes.start("sharkbench.runner.worker:measure", arguments, directory / LOG)
    timed_out = False
    while worker.exit_code is None:
        processes.wait(1.0)
        late = spec.timeout and worker.began and time.monotonic() > worker.began + spec.timeout
        if late and not timed_out:
            timed_out = True
            processes.kill(worker)
    for event in worker.take_events():
        if "message" in event:
            tell(Message(event["message"]))
        if "speed" in event:
            return Speed.model_validate(event["speed"])
        if "reason" in event:
            return str(event["reason"])
    if timed_out:
        return f"stopped after the timeout of {spec.timeout:g} s"
    _, reason = kind_of_exit(worker.exit_code, out_of_memory=worker.memory_ran_out, log="")
    return worker.lost or reason
