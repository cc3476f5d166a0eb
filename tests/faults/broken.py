"""Real runs, but for what their method's label or this module's settings break. Imported where runs are."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import torch

from sharkbench.errors import InputError
from sharkbench.results.records import Result
from sharkbench.runner.execute import execute as really_execute
from sharkbench.suite.run import RunSpec
from sharkbench.training import kept
from tests.search import fakes


def out_of_memory_in_qr(spec: RunSpec, directory: Path, **more: Any) -> Result:
    """One method asks for more address space than it is allowed."""
    if spec.method_label == "qr":
        [size] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:")]
        allowed = int(size.split()[1]) * 1024 + (64 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        torch.empty(1 << 30).fill_(1.0)
    return really_execute(spec, directory, **more)


def formula_in_qr(spec: RunSpec, directory: Path, **more: Any) -> Result:
    """A faked run; at other rates than the usual one those of one method fail for a reason that is a formula."""
    if spec.method.name == "qr" and spec.train.learning_rate != 0.001:
        raise InputError("=cmd|' /C calc'!A0 <script>alert(1)</script>")
    return fakes.execute(spec, directory, **more)


def often_kept(spec: RunSpec, directory: Path, **more: Any) -> Result:
    """A checkpoint after every epoch, as if each had taken long."""
    kept.EVERY_SECONDS, kept.COST = 0.0, 0
    return really_execute(spec, directory, **more)


def killed_after_an_epoch(spec: RunSpec, directory: Path, **more: Any) -> Result:
    """Ended from outside in the first epoch that comes after one that was kept."""
    told = more.pop("on_epoch")
    seen: list[int] = []

    def watch(epoch: Any) -> None:
        told(epoch)
        seen.append(epoch.epoch)
        if len(seen) == 2:  # the first of this process is kept by now
            os.kill(os.getpid(), signal.SIGKILL)

    return often_kept(spec, directory, on_epoch=watch, **more)
