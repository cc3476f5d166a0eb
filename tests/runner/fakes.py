"""Stands in for executing and measuring a run: the method's label says how it goes. Imported where runs are."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sharkbench.errors import DataError, Diverged
from sharkbench.results.records import Epoch, Result, Speed
from sharkbench.runner.outcome import facts_of, infeasible
from sharkbench.suite.run import RunSpec


def execute(
    spec: RunSpec,
    directory: Path,
    *,
    shared: Path,
    invocation: str,
    cache_dir: Path | None,
    on_epoch: Callable[[Epoch], None],
) -> Result:
    print(f"log of {spec.method_label}", flush=True)
    note(shared.parent, f"began {spec.key} {os.getpid()}")
    (directory / "packed.safetensors").write_bytes(b"x" * 100)
    on_epoch(Epoch(stage="train", epoch=1, train_loss=1.0, valid={"y": {"auc": 0.5, "logloss": 0.5}},
                   learning_rate=0.1, seconds=0.1))  # fmt: skip
    say_how_it_went(spec, directory)
    if spec.method_label == "infeasible":
        return infeasible(spec, "too few bytes", started="2026-01-01T00:00:00+00:00", seconds=1.0)
    note(shared.parent, f"ended {spec.key}")
    return Result(**facts_of(spec), status="ok", started="2026-01-01T00:00:00+00:00", seconds=1.0)


def measure(spec: RunSpec, directory: Path, *, cache_dir: Path | None) -> Speed:
    note(directory.parent.parent, f"measured {spec.key}")
    if spec.method_label == "unmeasurable":
        raise RuntimeError("no kernel")
    if spec.method_label == "is timed until it may go":
        wait_for(directory.parent.parent / "go")
    if spec.method_label == "kills its measuring":
        os.kill(os.getpid(), signal.SIGKILL)
    return Speed(hardware="cpu", kernels={}, lookups=[], model_samples_per_second=1.0, model_ratio_fp32=1.0,
                 other_cpu_percent=0.0)  # fmt: skip


def note(out: Path, line: str) -> None:
    """Add a line to the diary beside the store; each is one write."""
    with (out / "diary.txt").open("a") as file:
        file.write(line + "\n")


def say_how_it_went(spec: RunSpec, directory: Path) -> None:
    ways: dict[str, Callable[[], object]] = {
        "raises": lambda: fail(ValueError("of no\nuse")),
        "recurses": recurse,
        "diverges": lambda: fail(Diverged("epoch 2, step 7: the loss is nan")),
        "no data": lambda: fail(DataError("file.csv, row 3: ragged")),
        "no memory": lambda: fail(MemoryError()),
        "no torch memory": lambda: fail(RuntimeError("[enforce fail at alloc_cpu.cpp:117] can't allocate memory")),
        "disk full": lambda: fail(OSError(errno.ENOSPC, "No space left on device")),
        "exits": lambda: sys.exit(3),
        "exits hard": lambda: os._exit(4),
        "crashes": lambda: ctypes.string_at(0),
        "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "sleeps": lambda: time.sleep(0.3),
        "sleeps in company": lambda: sleep_in_company(directory.parent.parent),
        "waits to go": lambda: wait_for(directory.parent.parent / "go"),
        "hangs": lambda: time.sleep(600),
        "hangs with children": lambda: hang_with_children(directory.parent.parent),
    }
    ways.get(spec.method_label, lambda: None)()


def fail(error: Exception) -> NoReturn:
    raise error


def recurse() -> None:
    recurse()


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.05)


def sleep_in_company(out: Path) -> None:
    """No run ends before a second one has begun."""
    while (out / "diary.txt").read_text().count("began") < 2:
        time.sleep(0.05)
    time.sleep(0.3)


def hang_with_children(out: Path) -> None:
    """One child in the same session, one that has left it, and a refusal to listen to polite signals."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    near = subprocess.Popen(["sleep", "600"])
    far = subprocess.Popen(["sleep", "600"], start_new_session=True)
    note(out, f"children {near.pid} {far.pid}")
    time.sleep(600)
