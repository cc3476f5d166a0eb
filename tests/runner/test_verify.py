"""Newer code takes over what it comes to as well, and nothing else."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sharkbench.contract import registry
from sharkbench.leaderboard.cells import cells_of
from sharkbench.results.records import Result
from sharkbench.results.store import CODE, ENVIRONMENT, RESULT, SPEC, Store
from sharkbench.runner import run_suite
from sharkbench.runner.agreement import difference
from sharkbench.runner.outcome import facts_of
from sharkbench.runner.verify import FOLDER, Outcome, draw, earlier, verify
from sharkbench.suite.freshness import Freshness, outdated
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec, compiled_kernels, present_code
from tests.records import a_result, a_speed

METHOD = '''
"""Mine."""
from typing import ClassVar, Literal
from sharkbench.contract.method import Method
from ._{name}_parts import rows


class Mine(Method):
    """Mine.

    .. math:: e_i = E_i
    """

    name: Literal["{name}"] = "{name}"
    title: ClassVar[str] = "mine"
    paper: ClassVar[str] = "none"
    year: ClassVar[int] = 2026
    family: ClassVar[str] = "none"

    @property
    def budgeted(self):
        return False

    def compress(self, bench):
        model = bench.model(rows(bench))
        bench.train(model)
        return model
'''
PARTS = "def rows(bench):\n    return bench.full_table()\n"
SAME = "def rows(bench):\n    table = bench.full_table()\n    return table\n"
OTHER = "def rows(bench):\n    table = bench.full_table()\n    table.parts[0].weight.data.mul_(2)\n    return table\n"

ABOUT = {
    "sharkbench": "0", "git_revision": "a" * 40, "git_dirty": False, "python": "3", "packages": {"torch": "2"},
    "platform": "p", "cpu": "c", "cores": 1, "memory_bytes": 1, "gpus": [], "threads": 1, "kernels": {},
    "invocation": "i",
}  # fmt: skip


class Bench:
    """A suite of a user's own methods, and its store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.methods, self.out, self.cache = folder / "methods", folder / "out", folder / "cache"
        self.methods.mkdir()
        monkeypatch.setenv(registry.FOLDERS, str(self.methods))
        monkeypatch.setenv("SHARKBENCH_CACHE", str(self.cache))
        for name in ("one", "two"):
            (self.methods / f"{name}.py").write_text(METHOD.format(name=name))
            self.change(name, PARTS)
        self.suite = load(
            {
                "name": "s",
                "datasets": [{"source": "synthetic", "rows": 1000, "cardinalities": [20, 10]}],
                "backbones": ["linear"],
                "methods": ["one", "two"],
                "seeds": 2,
                "train": {"epochs": 1, "batch_size": 256},
                "measure": {"lookup": False},
                "tracking": {"enabled": False},
            }
        )
        self.store = Store(self.out)

    def change(self, name: str, source: str) -> None:
        (self.methods / f"_{name}_parts.py").write_text(source)

    def plan(self) -> list[RunSpec]:
        return plan(self.suite, cache_dir=self.cache)

    def run(self) -> None:
        """Everything, as if from a clean revision."""
        run_suite(self.suite, self.plan(), self.out, cache_dir=self.cache)
        self.rewrite(ENVIRONMENT, git_dirty=False)

    def fake(self, seed: int | None = None, **environment: Any) -> None:
        """Store everything, or one seed, as if it had been run by the present code and had come to the same."""
        code = present_code()
        for spec in self.plan():
            if seed is None or spec.seed == seed:
                directory = self.store.begin(spec.key)
                result = Result(**facts_of(spec), status="ok", started="2026-01-01T00:00:00+00:00", seconds=1.0)
                (directory / SPEC).write_text(spec.model_dump_json())
                (directory / RESULT).write_text(result.model_dump_json())
                (directory / ENVIRONMENT).write_text(json.dumps({**ABOUT, **environment}))
                (directory / CODE).write_text(json.dumps(code.closure(spec.roots)))
                self.store.publish(directory, spec.key)

    def rewrite(self, name: str, **changes: Any) -> None:
        for result in self.store.results():
            file = self.store.directory(result.key) / name
            file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    def verify(self, **arguments: Any) -> Outcome:
        return verify(self.suite, self.plan(), self.out, cache_dir=self.cache, **arguments)

    def to_do(self) -> Counter[str]:
        return Counter(spec.method_label for spec in self.plan() if self.store.get(spec.key) is None)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_what_comes_to_the_same_is_carried_over_and_what_does_not_stays_stale(bench: Bench) -> None:
    """Real runs: one method is written in other words, the other one starts from other rows."""
    bench.run()
    before = {result.method_label: result for result in bench.store.results() if result.seed == 1}
    bench.change("one", SAME)
    bench.change("two", OTHER)
    assert bench.to_do() == {"one": 2, "two": 2}

    outcome = bench.verify()
    assert outcome.carried == {"one": 2}
    assert len(outcome.drawn) == 2, "one run of each method covers all that has changed"
    [line] = outcome.differing
    assert line.startswith("synthetic, linear, two, seed ")
    assert " was " in line
    assert " and is " in line
    assert bench.to_do() == {"two": 2}
    states = {cell.name.method: cell.state for cell in cells_of(bench.store)}
    assert states == {"one": "verified", "two": "stale"}

    # What was carried over is what it was, under another name, and says how that was shown.
    [now] = [bench.store.get(s.key) for s in bench.plan() if (s.method_label, s.seed) == ("one", 1)]
    assert now is not None
    renamed = {"key", "code", "setting", "comparison"}
    assert now.model_dump(exclude=renamed) == before["one"].model_dump(exclude=renamed)
    verified = bench.store.verified(now.key)
    assert verified is not None
    assert [step.code for step in verified.steps] == [before["one"].code]
    assert verified.same_hardware
    assert bench.store.code(now.key) != {}
    assert (bench.store.directory(now.key) / "packed.safetensors").is_file()
    assert len(bench.store.keys()) == 4
    # A second change: verified again, from the verified runs; what was done again for the other method is kept.
    assert (bench.out / FOLDER).is_dir()
    bench.change("one", PARTS + "\n\nNUMBER = 3\n")
    bench.change("two", PARTS)
    again = bench.verify()
    assert (again.carried, again.differing) == ({"one": 2}, [])
    assert not (bench.out / FOLDER).exists()
    assert bench.to_do() == {}
    assert {cell.state for cell in cells_of(bench.store)} == {"fresh", "verified"}


def test_a_run_by_other_code_than_it_was_planned_for_fails(bench: Bench) -> None:
    planned = [spec for spec in bench.plan() if spec.method_label == "one" and spec.seed == 0]
    bench.change("one", SAME)
    run_suite(bench.suite, planned, bench.out, cache_dir=bench.cache)

    [result] = bench.store.results()
    assert (result.status, result.kind) == ("failed", "data")
    assert result.reason == "the code has changed since the run was planned; run the suite again"


def test_rows_from_unclean_revisions_and_failures_are_never_carried_over(bench: Bench) -> None:
    bench.fake(git_dirty=True)
    bench.change("one", SAME)
    outcome = bench.verify()
    assert (outcome.carried, outcome.drawn, list(outcome.left.values())) == ({}, [], [2])
    assert "no revision" in next(iter(outcome.left))
    bench.rewrite(ENVIRONMENT, git_dirty=False)
    bench.rewrite(RESULT, status="failed", kind="method", reason="no")
    outcome = bench.verify()
    assert (outcome.carried, list(outcome.left.values())) == ({}, [2])


def test_on_other_hardware_rows_say_so(bench: Bench) -> None:
    bench.fake(cpu="another")
    bench.change("one", SAME)
    bench.fake(seed=0)
    assert bench.verify().carried == {"one": 1}
    code = Freshness(bench.store)
    states = {(r.method_label, r.seed): code.state(r) for r in bench.store.results() if code.state(r) != "stale"}
    assert states.pop(("one", 1)) == "verified on other hardware"
    assert set(states.values()) == {"fresh"}


def test_what_the_present_code_has_done_already_is_what_is_compared(bench: Bench) -> None:
    """Nothing is done again where a run of each method is there from both."""
    bench.fake()
    bench.change("one", SAME)
    bench.fake(seed=0)
    assert bench.verify(execute="no.such.module:function").carried == {"one": 1}


def test_drawn_are_the_cheapest_runs_that_cover_every_change(bench: Bench) -> None:
    bench.fake()
    for result in bench.store.results():
        file = bench.store.directory(result.key) / RESULT
        file.write_text(result.model_copy(update={"seconds": 100.0 - 10 * result.seed}).model_dump_json())
    first = next(r.key for r in bench.store.results() if (r.method, r.seed) == ("one", 0))
    # One run is from another code than the others: what has changed since is another thing, and is drawn too.
    modules = json.loads((bench.store.directory(first) / CODE).read_text())
    (bench.store.directory(first) / CODE).write_text(json.dumps({**modules, "sharkbench.seeds": "0" * 16}))
    bench.change("one", SAME)
    drawn = draw(list(earlier(bench.store, bench.plan(), Counter())), bench.store)
    assert sorted((one.spec.method_label, one.spec.seed) for one in drawn) == [("one", 0), ("one", 1)]
    (bench.store.directory(first) / CODE).write_text(json.dumps(modules))
    drawn = draw(list(earlier(bench.store, bench.plan(), Counter())), bench.store)
    assert [(one.spec.method_label, one.spec.seed) for one in drawn] == [("one", 1)], "the cheaper one"


def result(auc: float, logloss: float = 0.5, **changes: Any) -> Result:
    quality = {"auc": auc, "logloss": logloss, "normalized_entropy": 0.9, "ece": float("nan")}
    return a_result(quality={"y": quality}, bytes=1000, **changes)


@pytest.mark.parametrize(
    ("now", "bits", "said"),
    [
        (result(0.7), True, None),
        (result(0.7, seconds=99.0, key="other"), True, None),
        (result(0.7000000001), True, "quality.y.auc was 0.7 and is 0.7000000001"),
        (result(0.7000000001), False, None),
        (result(0.7095), False, None),
        (result(0.711), False, "AUC differs by 0.0110"),
        (result(math.nan), False, "AUC differs by inf"),
        (result(0.7, logloss=0.6), False, "log loss differs by 0.1000"),
        (a_result(bytes=1000), False, "AUC differs by inf"),
        (result(0.7).model_copy(update={"bytes": 1001}), True, "bytes was 1000 and is 1001"),
        (result(0.7).model_copy(update={"bytes": 1001}), False, None),
        (result(0.7).model_copy(update={"bytes": 1100}), False, "bytes was 1000 and is 1100"),
        (a_result(status="infeasible", reason="small"), False, "status was ok and is infeasible"),
    ],
)
def test_what_differs_is_said_with_both_values(now: Result, bits: bool, said: str | None) -> None:
    found = difference(result(0.7), now, bits=bits)
    assert (found is None) == (said is None), found
    assert said is None or (found is not None and found.startswith(said))


def test_lookups_are_stale_on_their_own(bench: Bench) -> None:
    """Kernels or formats that have changed make no run to do, but its timing."""
    spec, code = bench.plan()[0], present_code()
    timed = a_speed().model_copy(update={"code": spec.timed_by(code), "compiled": compiled_kernels()})
    assert not outdated(spec, timed, code)
    assert outdated(spec, timed.model_copy(update={"code": "0" * 16}), code)
    assert outdated(spec, timed.model_copy(update={"compiled": "0" * 16}), code) == bool(compiled_kernels())
    assert not outdated(spec, timed.model_copy(update={"compiled": ""}), code), "plain torch: told elsewhere"
