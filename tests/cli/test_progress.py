"""What a person sees while a suite runs."""

from __future__ import annotations

import io

from rich.console import Console

from sharkbench.cli.progress import Progress
from sharkbench.results.records import Epoch, Result
from sharkbench.runner.events import EpochEnded, MeasureEnded, MeasureStarted, Message, RunEnded, RunStarted
from sharkbench.suite.costs import Costs
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec
from tests.records import a_quality

RUNS = plan(
    load(
        {
            "name": "s",
            "datasets": ["synthetic"],
            "backbones": ["dnn", "fm"],
            "methods": ["full", "qr"],
            "budgets": [0.5],
        }
    )
)


def result(spec: RunSpec, seconds: float = 4.0, **changes: object) -> Result:
    facts = {
        "key": spec.key,
        "status": "ok",
        "suite": spec.suite,
        "dataset": spec.dataset.name,
        "split": "random",
        "data_fingerprint": spec.fingerprint,
        "backbone": spec.backbone.name,
        "method": spec.method.name,
        "method_label": spec.method_label,
        "code": spec.code,
        "dimension": spec.dimension,
        "seed": spec.seed,
        "started": "2024-01-01T00:00:00+00:00",
        "seconds": seconds,
        "bytes_ratio": 0.5,
        "quality": {"click": a_quality(auc=0.75)},
    }
    return Result.model_validate({**facts, **changes})


EPOCH = Epoch(
    stage="train", epoch=2, train_loss=0.5, valid={"click": {"auc": 0.7321, "logloss": 0.5}},
    learning_rate=0.1, seconds=1.0,
)  # fmt: skip


def shown(*events: object, terminal: bool) -> tuple[str, Progress]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, color_system=None)
    with Progress(RUNS, jobs=1, to=console) as progress:
        for event in events:
            progress(event)  # type: ignore[arg-type]
        if progress.live.is_started:
            progress.live.refresh()
    return stream.getvalue(), progress


def test_plain_lines_where_there_is_no_terminal() -> None:
    text, _ = shown(
        RunEnded(result(RUNS[0]), cached=True),
        RunStarted(RUNS[1]),
        EpochEnded(RUNS[1].key, EPOCH),
        RunEnded(result(RUNS[1], status="infeasible", reason="needs 9 bytes", quality={}), cached=False),
        Message("a word"),
        RunEnded(result(RUNS[2], status="failed", kind="timeout", reason="after 5 s", quality={}), cached=False),
        terminal=False,
    )
    lines = text.splitlines()
    assert lines[0].startswith("[2/4] synthetic, dnn, qr at 0.5, seed 0: infeasible: needs 9 bytes, ")
    assert lines[1] == "a word"
    assert lines[2] == "[3/4] synthetic, fm, full, seed 0: failed (timeout): after 5 s, 4 s"
    assert len(lines) == 3
    assert "\x1b" not in text


def test_a_terminal_sees_what_runs_now() -> None:
    text, _ = shown(
        RunEnded(result(RUNS[0]), cached=True),
        RunStarted(RUNS[1]),
        EpochEnded(RUNS[1].key, EPOCH),
        terminal=True,
    )
    assert "1 of 4 runs, 1 done before" in text
    assert "synthetic, dnn, qr at 0.5, seed 0: train epoch 2, AUC click 0.7321" in text


def test_a_terminal_sees_what_is_measured() -> None:
    text, progress = shown(RunStarted(RUNS[1]), MeasureStarted(RUNS[0].key), terminal=True)
    assert "0 of 4 runs, timing lookups of run 1" in text
    assert "synthetic, dnn, full, seed 0: timing lookups" in text
    progress(MeasureEnded(RUNS[0].key))
    assert RUNS[0].key not in progress.current


def test_that_lookups_are_timed_is_said_once_where_there_is_no_terminal() -> None:
    text, _ = shown(*[MeasureStarted(run.key) for run in RUNS], terminal=False)
    assert text.splitlines() == ["timing lookups"]


def test_time_left_counts_what_is_left_at_the_pace_so_far() -> None:
    _, progress = shown(RunEnded(result(RUNS[0]), cached=True), terminal=False)
    assert progress.time_left() is None
    progress(RunEnded(result(RUNS[1], seconds=10.0), cached=False))
    assert progress.time_left() == 20.0


def test_time_left_does_not_take_all_runs_for_as_long_as_those_that_came_first() -> None:
    full_dnn, qr_dnn, full_fm, qr_fm = RUNS
    _, progress = shown(RunEnded(result(qr_dnn, 100.0), cached=False), terminal=False)
    progress(RunEnded(result(full_dnn, 10.0), cached=False))
    assert progress.time_left() == 110.0  # full and qr on fm
    progress(RunEnded(result(qr_fm, 1.0), cached=True))
    assert progress.time_left() == 10.0
    progress(RunEnded(result(full_fm, 10.0), cached=False))
    assert progress.time_left() is None


def test_costs_are_guessed_from_the_runs_most_alike() -> None:
    full_dnn, qr_dnn, full_fm, qr_fm = RUNS
    results = [result(full_dnn, 10.0), result(qr_dnn, 20.0), result(full_fm, 30.0)]
    assert Costs(results).guess(qr_dnn) == 20.0
    assert Costs(results).guess(qr_fm) == 20.0
    assert Costs([results[0], results[2]]).guess(qr_fm) == 30.0
    assert Costs([results[0], results[1]]).guess(full_fm) == 10.0
    assert Costs([results[0], result(qr_dnn, 1.0, status="failed")]).guess(qr_fm) == 10.0
    assert Costs().guess(qr_fm) is None
    assert Costs([result(qr_fm, 5.0, data_fingerprint="another")]).guess(qr_fm) is None
