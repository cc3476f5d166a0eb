"""Where the wall time of a suite goes: its whole path is sampled with py-spy while it runs, one run at a time.

    pip install py-spy
    python benchmarks/suite_profile.py suites/kuairand.yaml -- --only seed=0 --only backbone=dcnv2

Everything after ``--`` goes to ``sharkbench run``; the output is a temporary folder, so that nothing is stored already.
``training`` holds batches, steps and validations; ``evaluation`` the judging of a model, finished or on the way;
``lookups`` what is timed and the tables made for it. Lines below are what they are not; ``the method's own`` is what
its algorithm does besides. ``seconds`` are of the process of the run, and of the one that started it where no run was
at work (``between runs``). py-spy takes some tenths of a second to find a new process, which count as that too.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmark_table import processor


def _frame(path: str, function: str = "") -> str:
    """A pattern of frames as py-spy writes them, ``Class.function (path:line)``, whatever stands before ``path``."""
    name = rf"\b{function}" if function else ""
    return rf"{name} \((?:[^;]*/)?{re.escape(path)}"


RATE = 25
"""Samples per second; each stops a process for some milliseconds."""
PARTS = {
    "training": [_frame("sharkbench/training/fit.py", "fit")],
    "lookups": [_frame("sharkbench/runner/execute.py", "measure")],
    "evaluation": [
        _frame("sharkbench/runner/execute.py", "_quality"),
        _frame("sharkbench/contract/workbench.py", "evaluate"),
    ],
    "imports": ["<frozen importlib"],
    "packing, saving, loading": [_frame("sharkbench/model/artifact.py"), _frame("sharkbench/", "pack")],
    "the method's own": [_frame("methods/", "compress")],
    "data": [_frame("sharkbench/data/")],
}
"""Parts of a run's process; a sample belongs to the first part with a frame in its stack."""
RUN = _frame("sharkbench/runner/forkserver.py", "_become_worker")
WORK = ("training", "evaluation", "lookups")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--out", type=Path, default=Path("results/training"))
    own, _, more = _split(sys.argv[1:])
    settings = parser.parse_args(own)
    spy = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    if not Path(spy).exists():
        sys.exit("py-spy is needed: pip install py-spy")
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder) / "stacks"
        program = "from sharkbench.cli import main; main()"
        run = [sys.executable, "-c", program, "run", settings.suite, "--out", f"{folder}/out", "--jobs", "1", *more]
        record = [spy, "record", "--subprocesses", "--idle", "--threads", "--nonblocking", "--format", "raw"]
        started = time.monotonic()
        done = subprocess.run([*record, "--rate", str(RATE), "--output", str(stacks), "--", *run])
        wall = time.monotonic() - started
        if not stacks.exists():
            sys.exit(f"py-spy ended with {done.returncode} and left nothing")
        seconds = shares(stacks.read_text().splitlines(), wall)
        runs = len(list(Path(folder, "out", "runs").glob("[!.]*")))
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / f"suite_profile_{Path(settings.suite).stem}.csv"
    with path.open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["part", "seconds", "share", "runs", "suite", "cpu"])
        for part, value in seconds.items():
            row = [part, f"{value:.1f}", f"{value / wall:.4f}", runs, " ".join([settings.suite, *more]), processor()]
            table.writerow(row)
            print(f"{part:26} {value:8.1f} s {value / wall:7.1%}")
    print(f"{'the work itself':26} {sum(seconds[part] for part in WORK):8.1f} s", end=" ")
    print(f"{sum(seconds[part] for part in WORK) / wall:7.1%}\nwritten: {path}")


def shares(stacks: list[str], wall: float) -> dict[str, float]:
    """Seconds of every part, from lines of ``frame;frame;... count``; what no run's process did is the rest."""
    counts: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if "MainThread" in stack and re.search(RUN, stack):
            counts[part_of(stack)] += int(count)
    if not counts:
        sys.exit("py-spy has seen no run")
    seconds = {part: counts[part] / RATE for part in [*PARTS, "other"]}
    return {**seconds, "between runs": max(0.0, wall - sum(seconds.values()))}


def part_of(stack: str) -> str:
    return next((part for part, frames in PARTS.items() if any(re.search(frame, stack) for frame in frames)), "other")


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in arguments:
        return arguments, "", []
    place = arguments.index("--")
    return arguments[:place], "--", arguments[place + 1 :]


if __name__ == "__main__":
    main()
