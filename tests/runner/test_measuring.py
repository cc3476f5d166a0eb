"""The measuring stage: after all training, one run at a time, and a failure costs the run nothing."""

from __future__ import annotations

from sharkbench.runner import Summary
from sharkbench.runner.events import MeasureEnded, MeasureStarted, RunEnded
from tests.runner.conftest import Bench

WAYS = ("fine", "unmeasurable", "kills its measuring", "infeasible", "sleeps")


def test_measuring_follows_all_training_and_keeps_why_it_failed(bench: Bench) -> None:
    assert bench.run(*WAYS, lookup=True, jobs=2) == Summary(done=4, infeasible=1)
    kinds = [type(event) for event in bench.events if isinstance(event, RunEnded | MeasureStarted | MeasureEnded)]
    assert kinds == [RunEnded] * 5 + [MeasureStarted, MeasureEnded] * 4

    assert len(bench.diary("measured")) == 4
    results = {result.method_label: result for result in bench.store.results()}
    speeds = {way: bench.store.speed(results[way].key) is not None for way in WAYS}
    assert speeds == {way: way in ("fine", "sleeps") for way in WAYS}
    assert results["unmeasurable"].status == "ok"
    assert bench.store.speed_error(results["unmeasurable"].key) == "RuntimeError: no kernel"
    reason = bench.store.speed_error(results["kills its measuring"].key)
    assert reason == "the process was ended from outside (SIGKILL)"
    log = (bench.store.directory(results["unmeasurable"].key) / "log.txt").read_text()
    assert log.startswith("20")  # what the run printed is still there
    assert "RuntimeError: no kernel" in log

    bench.events.clear()
    assert bench.run(*WAYS, lookup=True) == Summary(done=4, infeasible=1, cached=5)
    measured = [event.key for event in bench.events if isinstance(event, MeasureEnded)]
    assert measured == [results["unmeasurable"].key, results["kills its measuring"].key]
