"""The commands, as a person types them: what they print, and how they end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from sharkbench import cli
from sharkbench.cli.app import app
from sharkbench.results.store import Store
from sharkbench.runner import Summary
from sharkbench.runner.outcome import failed
from sharkbench.suite.load import built_in
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec

SUITE = """
datasets: [{source: synthetic, rows: 1000, cardinalities: [50, 20]}]
backbones: [{name: dnn, hidden: [4]}]
methods: [full, qr]
budgets: [0.0001]
train: {epochs: 1, batch_size: 256}
measure: {lookup: false}
tracking: {enabled: false}
"""


class Done:
    def __init__(self, *words: str | Path) -> None:
        result = CliRunner().invoke(app, [str(word) for word in words])
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHARKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "tiny.yaml"
    file.write_text(SUITE)
    return file


def test_a_suite_from_nothing_to_its_leaderboard_and_back_again(suite: Path) -> None:
    before = Done("run", suite, "--dry-run")
    assert before.code == 0
    assert "2 runs, 2 to do under results/tiny" in before.out
    assert not Path("results").exists()

    first = Done("run", suite)
    assert (first.code, "Traceback" in first.err) == (0, False)
    assert "Leaderboard: results/tiny/leaderboard.csv" in first.out
    assert "MLflow" not in first.out
    assert "infeasible" in first.out
    assert Path("results/tiny/leaderboard.csv").is_file()
    assert "Report:      results/tiny/report.html" in first.out
    assert "<title>tiny" in Path("results/tiny/report.html").read_text()
    told = [line for line in first.err.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in told] == ["[1/2", "[2/2"]
    assert sorted("infeasible" in line for line in told) == [False, True], "in the order in which they ended"
    assert sorted("AUC click" in line for line in told) == [False, True]

    stored = {path: path.stat().st_mtime_ns for path in Path("results/tiny/runs").rglob("result.json")}
    assert len(stored) == 2
    Path("results/tiny/report.html").unlink()
    again = Done("run", suite, "--no-report")
    assert again.code == 0
    assert not Path("results/tiny/report.html").exists()
    assert "[1/2]" not in again.err
    assert {path: path.stat().st_mtime_ns for path in Path("results/tiny/runs").rglob("result.json")} == stored

    status = Done("status", suite)
    assert "tiny: 2 runs, 1 ok, 1 infeasible, 0 failed, 0 missing" in status.out
    planned = Done("plan", suite)
    assert "2 runs, 0 to do" in planned.out
    larger = Done("plan", suite, "--set", "seeds=2")
    assert "4 runs, 2 to do under results/tiny; about " in larger.out
    board = Done("leaderboard", suite)
    assert board.code == 0
    assert "results/tiny/runs.csv" in board.out

    run = next(path.parent for path in stored if (path.parent / "packed.safetensors").exists())
    inspected = Done("inspect", run)
    assert inspected.code == 0
    assert "fields" not in inspected.err
    measured = Done("measure", run, "--seconds", "0.2", "--batch", "16")
    assert measured.code == 0, measured.err
    assert "own size" in measured.out


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run"), ("prepare",)])
def test_data_that_will_be_refused_is_refused_by_plans_and_the_others_are_not(
    suite: Path, command: tuple[str, ...]
) -> None:
    rows = [f"u{i % 7},{i % 2}" for i in range(60)]
    Path("good.csv").write_text("\n".join(["user,click", *rows]))
    Path("bad.csv").write_text("\n".join(["user,click", "u1,maybe", *rows]))
    sets = ", ".join(f"{{source: csv, path: {name}.csv, labels: click}}" for name in ("bad", "good"))
    suite.write_text(SUITE.replace("{source: synthetic, rows: 1000, cardinalities: [50, 20]}", sets))
    done = Done(command[0], suite, *command[1:])
    assert done.code == 2
    assert "good" in done.out
    assert "bad.csv, line 2: label 'click' is 'maybe': not 0 or 1" in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes ``run_suite`` store one failed run and end with a given summary."""

    def end(**summary: Any) -> None:
        def run_suite(suite: Suite, plan: list[RunSpec], out: Path, **options: Any) -> Summary:
            store, run = Store(out), plan[0]
            result = failed(run, "method", "as it must", started="2024-01-01T00:00:00+00:00", seconds=1.0)
            scratch = store.begin(run.key)
            (scratch / "result.json").write_text(result.model_dump_json())
            store.publish(scratch, run.key)
            return Summary(**summary)

        monkeypatch.setattr("sharkbench.runner.local.run_suite", run_suite)

    return end


def test_a_failed_run_makes_the_exit_code_one_and_status_says_why(suite: Path, ended: Callable[..., None]) -> None:
    ended(failed=1)
    done = Done("run", suite, "--out", "elsewhere")
    assert done.code == 1
    assert f"1 runs failed; 'sharkbench status {suite}" in done.err
    status = Done("status", suite, "--out", "elsewhere")
    assert "2 runs, 0 ok, 0 infeasible, 1 failed, 1 missing" in status.out
    assert "as it must" in status.out
    assert "log.txt" in status.out


def test_an_interrupted_suite_ends_with_130_and_says_how_to_go_on(suite: Path, ended: Callable[..., None]) -> None:
    ended(failed=1, interrupted=True)
    done = Done("run", suite)
    assert done.code == 130
    assert "goes on" in done.err
    assert "Leaderboard" in done.out


def test_validate_takes_several_and_tells_all_mistakes(suite: Path) -> None:
    good = Done("validate", suite, "quickstart")
    assert (good.code, good.err) == (0, "")
    assert good.out.splitlines() == [f"{suite}: good, 2 runs", "quickstart: good, 10 runs"]
    bad = Done("validate", suite, "--set", "train.epoch=1", "--set", "dimension=0")
    assert bad.code == 2
    assert bad.out == ""
    assert len(bad.err.splitlines()) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["run", "none.yaml"],
        ["run", "quickstrt"],
        ["run", "quickstart", "--set", "train.epoch=1"],
        ["run", "quickstart", "--only", "metod=qr"],
        ["plan", "quickstart", "--only", "method=nothing"],
        ["info", "qrr"],
        ["check", "qrr"],
        ["leaderboard", "quickstart", "--out", "nowhere"],
        ["track", "quickstart", "--out", "nowhere"],
        ["ui", "quickstart", "--out", "nowhere"],
        ["inspect", "nowhere"],
        ["measure", "nowhere"],
        ["status", "quickstart", "--set", "datasets=[{source: parquet, path: none.parquet, labels: [y]}]"],
    ],
)
def test_bad_input_is_a_line_and_exit_code_two(suite: Path, words: list[str]) -> None:
    done = Done(*words)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert "Traceback" not in done.err


def test_what_cannot_be_written_to_is_bad_input(suite: Path) -> None:
    Path("taken").write_text("a file")
    done = Done("run", suite, "--out", "taken")
    assert done.code == 2
    assert "taken" in done.err.splitlines()[-1]


def test_prepare_fills_the_cache(suite: Path, tmp_path: Path) -> None:
    done = Done("prepare", suite, "--cache", tmp_path / "own")
    assert done.code == 0
    assert done.out.startswith("synthetic: 800 train, 100 valid, 100 test; 2 fields")
    assert (tmp_path / "own").is_dir()


def test_lists_name_everything(suite: Path) -> None:
    from sharkbench.contract import registry

    methods, suites = Done("list", "methods").out, Done("list", "suites").out
    for name in registry.names():
        assert name in methods
    for name in built_in():
        assert name in suites
    assert "parquet" in Done("list", "datasets").out
    assert "dcnv2" in Done("list", "backbones").out
    assert "kernel" in Done("list", "formats").out
    assert "auc (primary)" in Done("list", "tasks").out


def test_info_tells_paper_settings_and_budgets() -> None:
    done = Done("info", "qr")
    assert done.code == 0
    for part in ("KDD 2020", ".. math::", "operation", "mult", "0.25", "infeasible"):
        assert part in done.out


def test_a_new_method_passes_its_checks_and_a_broken_one_does_not(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharkbench.contract.check.CHECKS", {})
    (tmp_path / "own").mkdir()
    made = Done("new", "mine", "--folder", tmp_path / "own")
    file = tmp_path / "own" / "mine.py"
    assert made.out.splitlines() == [str(file), f"SHARKBENCH_METHODS={tmp_path / 'own'} sharkbench check mine"]
    monkeypatch.setenv("SHARKBENCH_METHODS", str(file.parent))
    assert Done("check", "mine").code == 0

    def fails(method: object) -> None:
        raise AssertionError("it does not")

    monkeypatch.setattr("sharkbench.contract.check.CHECKS", {"works": fails})
    broken = Done("check", "mine")
    assert (broken.code, broken.out) == (1, "FAIL  works: it does not\n")
    assert Done("new", "mine", "--folder", tmp_path / "own").code == 2


@pytest.mark.parametrize(
    ("kind", "name", "checks"),
    [
        ("method", "qr", "check"),
        ("format", "dense", "format_check"),
        ("backbone", "fm", "backbone_check"),
        ("source", "csv", "source_check"),
    ],
)
def test_every_kind_of_plug_in_is_checked_by_its_name(
    kind: str, name: str, checks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(plugin: type) -> str:
        return plugin.__name__

    monkeypatch.setattr(f"sharkbench.contract.{checks}.CHECKS", {"is found": told})
    assert Done("check", kind, name).out.startswith("ok    is found: ")
    unknown = Done("check", kind, f"{name}x")
    assert unknown.code == 2
    assert unknown.err.startswith(f"unknown {kind} '{name}x'; did you mean '{name}'?")


def test_only_kinds_of_plug_ins_are_checked() -> None:
    assert Done("check", "sorce", "csv").err == "unknown kind of plug-in 'sorce'; did you mean 'source'?\n"


def test_schema_is_json() -> None:
    assert json.loads(Done("schema").out)["$defs"]["MethodEntry"]


def test_ui_checks_the_port_first(suite: Path) -> None:
    Path("results/tiny").mkdir(parents=True)
    Path("results/tiny/mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = Done("ui", suite, "--port", str(port))
    assert done.code == 2
    assert done.err.startswith(f"port {port} cannot be used")


def test_a_server_ends_with_all_its_processes(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    worker = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(100)"
    server = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    program = (
        "import sys\nfrom sharkbench.cli.reporting import _until_interrupted\n"
        f"print(_until_interrupted([sys.executable, '-c', {server!r}]))"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    while not (pid.exists() and pid.read_text()):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.communicate()[0] == "0\n"
    ended = psutil.Process(int(pid.read_text())) if psutil.pid_exists(int(pid.read_text())) else None
    assert ended is None or ended.wait(10) is None or ended.status() == psutil.STATUS_ZOMBIE


def test_doctor_finds_this_installation_fit(suite: Path) -> None:
    done = Done("doctor")
    assert done.code == 0, done.out
    for what in ("python", "torch", "methods", "cpu", "kernels", "cache", "mlflow store"):
        assert what in done.out


def test_doctor_fails_where_nothing_can_be_written(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("SHARKBENCH_CACHE", str(Path("file", "cache").absolute()))
    done = Done("doctor")
    assert done.code == 1
    assert "cannot be written to" in done.out


def test_version() -> None:
    from sharkbench import __version__

    assert Done("--version").out == f"{__version__}\n"


def test_main_runs_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["sharkbench", "list", "suites"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "quickstart" in capsys.readouterr().out
