"""Seconds from the start of ``sharkbench run`` to the first batch of its first run, and of the runs after it, by stage.

    python benchmarks/startup.py --out results/training/startup.csv

A suite of three runs (one method, three seeds) on generated data that is prepared already; the command has been run
once before, so that files are cached and compiled. The method trains the full table, and writes down when it was
called and when the first batch came.

``run`` 1 is the first of the command. Its stages: ``command``, until the process is started that all runs are forked
from; ``server``, until the run's own process is forked, which is the server's imports and whatever the command does
meanwhile; ``data``, in the run's process until its method is called; ``training``, until the first batch. Later runs
find the server there: theirs begin with the fork. ``seconds`` are those of the wall, the sum of the stages;
``cpu_seconds`` those of all processes involved, which other programs on the machine hardly move. Medians over the
repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmark_table

METHOD = '''
from __future__ import annotations

import json
import os
import time
from typing import ClassVar, Literal

from sharkbench.contract.method import Method


class Clock(Method):
    """Writes down when the first batch came."""

    name: Literal["clock"] = "clock"
    title: ClassVar[str] = "writes down when the first batch came"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0
    family: ClassVar[str] = "none"

    @property
    def budgeted(self):
        return False

    def compress(self, bench):
        import psutil
        from lightning.pytorch import Callback

        called = time.time(), time.process_time()

        class First(Callback):
            def on_train_batch_start(self, trainer, module, batch, number):
                if number or trainer.current_epoch:
                    return
                batched, spent = time.time(), time.process_time()
                run = psutil.Process()
                server = run.parent()
                command = server.parent()
                told = {
                    "command": command.create_time(), "server": server.create_time(), "run": run.create_time(),
                    "called": called[0], "batched": batched, "cpu_called": called[1], "cpu_batched": spent,
                    "cpu_server": sum(server.cpu_times()[:2]), "cpu_command": sum(command.cpu_times()[:2]),
                }
                with open(os.environ["STARTUP_TIMES"], "a") as file:
                    file.write(json.dumps(told) + chr(10))

        model = bench.model(bench.full_table())
        bench.train(model, callbacks=[First()])
        return model
'''

SUITE = """
datasets: [{source: synthetic, rows: 20000}]
backbones: [{name: dcnv2, hidden: [64]}]
methods: [clock]
seeds: 3
dimension: 8
train: {optimizer: lazy_adam, epochs: 1}
measure: {lookup: false}
"""


def timed_runs(folder: Path, out: str) -> list[dict[str, float]]:
    """The times reported by the runs of one command, in order."""
    times = folder / f"{out}.jsonl"
    methods = str(folder / "methods")
    environment = {**os.environ, "STARTUP_TIMES": str(times), "SHARKBENCH_METHODS": methods, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from sharkbench.cli import main; main()", "run", str(folder / "suite.yaml")]
    command += ["--out", str(folder / out), "--cache", str(folder / "cache"), "--jobs", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"sharkbench run ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return [json.loads(line) for line in times.read_text().splitlines()]


def stages(told: dict[str, float], *, first: bool) -> dict[str, float]:
    """Seconds of each stage."""
    found = {"command": told["server"] - told["command"], "server": told["run"] - told["server"]} if first else {}
    found |= {"data": told["called"] - told["run"], "training": told["batched"] - told["called"]}
    cpu = {"cpu_command": told["cpu_command"], "cpu_server": told["cpu_server"]} if first else {}
    cpu |= {"cpu_data": told["cpu_called"], "cpu_training": told["cpu_batched"] - told["cpu_called"]}
    return {**found, **cpu, "seconds": sum(found.values()), "cpu_seconds": sum(cpu.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, help="CSV to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "methods").mkdir()
        (folder / "methods" / "clock.py").write_text(METHOD)
        (folder / "suite.yaml").write_text(SUITE)
        timed_runs(folder, "warm")
        repetitions = [timed_runs(folder, f"out{i}") for i in range(args.repetitions)]
    columns = ["seconds", "cpu_seconds", "command", "server", "data", "training"]
    columns += [f"cpu_{stage}" for stage in ("command", "server", "data", "training")]
    table: list[dict[str, Any]] = []
    for number in range(len(repetitions[0])):
        found = [stages(runs[number], first=number == 0) for runs in repetitions]
        row: dict[str, Any] = {"run": number + 1}
        for column in columns:
            row[column] = round(statistics.median(f[column] for f in found), 2) if column in found[0] else ""
        row |= {"repetitions": args.repetitions, "hardware": benchmark_table.hardware()}
        table.append(row)
        print(json.dumps(row), flush=True)
    if args.out:
        benchmark_table.write(args.out, table)


if __name__ == "__main__":
    main()
