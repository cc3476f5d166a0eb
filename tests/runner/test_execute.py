"""One run for real: what is reported is what the saved artifact does, to the bit, wherever it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import Size
from sharkbench.contract.workbench import Workbench
from sharkbench.errors import DataError, Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.measure.quality import predict, quality
from sharkbench.model import artifact
from sharkbench.results.records import Environment, Epoch, Result
from sharkbench.results.store import ENVIRONMENT, Store
from sharkbench.runner import Summary, run_suite
from sharkbench.runner.cell import OverBudget, open_dataset
from sharkbench.runner.execute import execute
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec, present_code

SUITE = {
    "name": "small",
    "datasets": [{"source": "synthetic", "rows": 2000, "cardinalities": [200, 50, 10]}],
    "backbones": ["dnn"],
    "dimension": 4,
    "methods": ["full", "hash"],
    "budgets": [0.3],
    "train": {"epochs": 2, "batch_size": 256, "patience": 5},
    "measure": {"seconds": 0.01, "batch": 64, "production_rows": 0},
    "tracking": {"enabled": False},
}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load(SUITE)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def runs(suite: Suite, cache: Path) -> dict[str, RunSpec]:
    return {run.method_label: run for run in plan(suite, cache_dir=cache)}


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(spec: RunSpec, folder: Path, cache: Path, epochs: list[Epoch] | None = None) -> Result:
    folder.mkdir(exist_ok=True)
    watch = epochs.append if epochs is not None else None
    return execute(spec, folder, shared=folder / "shared", invocation="now", cache_dir=cache, on_epoch=watch)


def test_quality_and_bytes_are_those_of_the_saved_artifact(
    runs: dict[str, RunSpec], cache: Path, tmp_path: Path
) -> None:
    epochs: list[Epoch] = []
    spec = runs["hash"]
    result = run(spec, tmp_path / "run", cache, epochs)
    dataset = open_dataset(spec, cache)
    model = artifact.load_model(tmp_path / "run")
    for split, told in (("test", result.quality), ("valid", result.quality_valid)):
        samples = dataset.splits[split]  # type: ignore[index]
        found = quality(predict(model, samples), samples, dataset.schema.labels, spec.task)
        assert found == told

    full_bytes = dataset.schema.num_rows * model.layer.width * 4
    assert result.bytes == model.layer.nbytes == sum(result.bytes_by_field.values())
    assert result.budget_bytes == int(0.3 * full_bytes) >= result.bytes
    assert result.bytes_ratio == result.bytes / full_bytes
    assert result.pack_gap == {
        "click": dict.fromkeys(result.quality_valid["click"], 0.0)
    }  # an fp32 table loses nothing by being packed
    assert result.training is not None
    assert result.training.epochs == len(result.history) == 2
    assert list(result.history) == epochs
    assert result.method_config["fraction"] == pytest.approx(0.3, abs=0.05)  # as solved from the budget
    assert Environment.model_validate_json((tmp_path / "run" / ENVIRONMENT).read_bytes()).threads == 1


def test_the_result_is_the_same_in_any_process_and_however_many_run_at_once(
    suite: Suite, runs: dict[str, RunSpec], cache: Path, tmp_path: Path
) -> None:
    out = Store(tmp_path / "out")
    assert run_suite(suite, list(runs.values()), out.out, jobs=2, cache_dir=cache) == Summary(done=2)
    for label, spec in runs.items():
        here = run(spec, tmp_path / label, cache)
        there = out.get(spec.key)
        assert there is not None
        assert there.quality == here.quality
        for name in (artifact.PACKED, artifact.BACKBONE):
            assert (out.directory(spec.key) / name).read_bytes() == (tmp_path / label / name).read_bytes()
        speed = out.speed(spec.key)
        assert speed is not None
        assert speed.model_samples_per_second > 0
        assert out.environment(spec.key) is not None


class Greedy(Method):
    """Says that it meets any budget, and does not."""

    name: Literal["greedy"] = "greedy"
    title: ClassVar[str] = "takes it all"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0
    family: ClassVar[Family] = "none"

    def compress(self, bench: Workbench) -> Any:
        bench.note("scores", [{"field": "a", "score": 1.0}])
        return bench.model(bench.full_table())


class Picky(Greedy):
    """Cannot meet any."""

    def size(self, budget: int, shape: TableShape) -> Size:
        raise Infeasible(f"needs more than {budget} bytes")


def with_method(spec: RunSpec, method: Method, **changes: Any) -> RunSpec:
    return spec.model_copy(update={"method": method, **changes}).by(present_code())


def test_more_bytes_than_the_budget_are_an_error(runs: dict[str, RunSpec], cache: Path, tmp_path: Path) -> None:
    with pytest.raises(OverBudget, match="more than the budget"):
        run(with_method(runs["hash"], Greedy()), tmp_path / "run", cache)


def test_a_budget_out_of_reach_is_an_outcome_with_its_reason(
    runs: dict[str, RunSpec], cache: Path, tmp_path: Path
) -> None:
    result = run(with_method(runs["hash"], Picky()), tmp_path / "run", cache)
    assert (result.status, result.reason) == ("infeasible", f"needs more than {result.budget_bytes} bytes")
    assert not (tmp_path / "run" / artifact.PACKED).exists()


def test_what_a_method_notes_down_lies_beside_the_result(runs: dict[str, RunSpec], cache: Path, tmp_path: Path) -> None:
    run(with_method(runs["full"], Greedy(), budget=None), tmp_path / "run", cache)
    assert '"score": 1.0' in (tmp_path / "run" / "notes.json").read_text()


def test_data_that_has_changed_since_the_plan_is_refused(runs: dict[str, RunSpec], cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has changed since the run was planned"):
        run(runs["full"].model_copy(update={"fingerprint": "other"}), tmp_path / "run", cache)
