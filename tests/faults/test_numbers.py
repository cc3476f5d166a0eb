"""Guards against a number that is wrong and looks right."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as sklearn

from sharkbench.data.prepare import prepare
from sharkbench.errors import DataError, Diverged
from sharkbench.model import artifact
from sharkbench.results.records import Result
from sharkbench.results.store import Store
from sharkbench.runner import Summary, cell, run_suite
from sharkbench.runner import execute as execution
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.tasks.ctr import Ctr
from tests.faults.counting import Count
from tests.faults.mutated_data import ADAPTER
from tests.faults.small_suite import SUITE

ROWS = 600


def warned(tmp_path: Path, lines: list[str], **more: Any) -> list[str]:
    file = tmp_path / "d.csv"
    file.write_text("\n".join(lines) + "\n")
    spec = ADAPTER.validate_python({"source": "csv", "path": str(file), "labels": "y", **more})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = prepare(spec, tmp_path / "cache")
    said = [str(one.message) for one in caught if "data set" in str(one.message)]
    assert [line.partition(": ")[2] for line in said] == data.summary["warnings"]
    return said


def rows(leak: Any, seed: int = 0) -> list[str]:
    """A user, a number, and a third column that may give the label away."""
    chance = np.random.default_rng(seed)
    found = ["user,price,extra,y"]
    for _ in range(ROWS):
        y = int(chance.random() < 0.3)
        found.append(f"u{chance.integers(50)},{chance.random():.3f},{leak(y, chance)},{y}")
    return found


LEAKS = {
    "the label itself": (lambda y, c: f"v{y}", {}, True),
    "the label in many words": (lambda y, c: f"{'ab'[y]}{c.integers(5)}", {}, True),
    "a number that tells": (lambda y, c: round(y + c.random() * 0.5, 3), {"numeric": {"extra": "dense"}}, True),
    "one minus the label": (lambda y, c: 1 - y, {"numeric": {"extra": "dense"}}, True),
    "a good feature": (lambda y, c: f"v{int(c.random() < 0.2 + 0.6 * y)}", {}, False),
    "a row number": (lambda y, c: c.integers(10**9), {"categorical": ["extra"]}, False),
    "nothing": (lambda y, c: "x", {}, False),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_an_input_that_is_the_label_in_disguise_is_warned_of(kind: str, tmp_path: Path, count: Count) -> None:
    leak, more, suspicious = LEAKS[kind]
    said = warned(tmp_path, rows(leak), **more)
    assert len(said) == suspicious
    assert all("'extra' alone predicts label 'y'" in line and "ignore" in line for line in said)
    count("inputs that are the label in disguise, or are not: told apart")


def test_splits_that_are_the_same_file_are_warned_of(tmp_path: Path, count: Count) -> None:
    lines = rows(lambda y, c: c.integers(9))
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines if name != "b" else rows(lambda y, c: 1, 7)) + "\n")
    names = {
        split: str(tmp_path / f"{name}.csv") for split, name in zip(("train", "valid", "test"), "aba", strict=True)
    }
    said = warned(tmp_path, ["x"], path="", split={"kind": "given", **names})
    assert [line.partition(": ")[2] for line in said] == [
        "the train and the test split hold the same rows; check the files that they come from"
    ]
    count("splits of the same rows: warned of")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_metrics_agree_with_scikit_learn(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 60))
    extremes = st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 1e-30, 88.0, -88.0, 17.0])
    drawn = st.one_of(extremes, st.floats(-30, 30, width=32), st.integers(-2, 2).map(float))
    scores = np.array(data.draw(st.lists(drawn, min_size=size, max_size=size)), np.float32)
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), np.float32)
    if labels.min() == labels.max():
        with pytest.raises(DataError, match="has no AUC"):
            Ctr().quality(scores[:, None], labels[:, None], ["y"])
        return
    found = Ctr().quality(scores[:, None], labels[:, None], ["y"])["y"]
    assert found["auc"] == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-12)
    p = np.clip(special.expit(scores.astype(np.float64)), 1e-7, 1 - 1e-7)
    assert found["logloss"] == pytest.approx(sklearn.log_loss(labels, p), rel=1e-9)
    assert np.isfinite([found["normalized_entropy"], found["ece"]]).all()


def test_counted(count: Count) -> None:
    count("random and degenerate scores: AUC and log loss as scikit-learn has them", 300)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_has_no_auc(bad: float, count: Count) -> None:
    scores, labels = np.array([[0.1], [bad]], np.float32), np.array([[0.0], [1.0]], np.float32)
    with pytest.raises(Diverged, match="not finite"):
        Ctr().quality(scores, labels, ["y"])
    count("scores that are not finite: divergence, not an AUC")


def test_the_test_split_is_read_once_and_through_the_packed_layer(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures come from what the saved file serves: with another table in the file they are those of the other."""
    suite = load({**SUITE, "methods": ["hash"], "seeds": 1})
    [spec] = plan(suite, cache_dir=tmp_path / "cache")
    test = cell.open_dataset(spec, tmp_path / "cache").splits["test"]
    read: list[str] = []
    really = cell.predict

    def watched(model: Any, split: Any) -> Any:
        read.append(("test" if torch.equal(split.labels, test.labels) else "valid") + f" {type(model).__name__}")
        return really(model, split)

    monkeypatch.setattr(cell, "predict", watched)
    (tmp_path / "run").mkdir()
    run = {"shared": tmp_path / "shared", "invocation": "now", "cache_dir": tmp_path / "cache"}
    honest = execution.execute(spec, tmp_path / "run", **run)
    assert sorted(read) == ["test PackedModel", "valid PackedModel"]
    file = tmp_path / "run" / artifact.PACKED
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    assert honest.bytes == file.stat().st_size - header

    loaded = artifact.load_model

    def blank(folder: Path) -> Any:
        model = loaded(folder)
        for tensor in model.layer.buffers():
            if tensor.is_floating_point():
                tensor.zero_()
        return model

    monkeypatch.setattr(artifact, "load_model", blank)
    blanked = execution.execute(spec, tmp_path / "run", **run)
    assert blanked.quality["click"]["auc"] == 0.5
    assert blanked.pack_gap["click"]["auc"] < -0.01
    assert honest.pack_gap["click"]["auc"] == 0.0
    count("the test split: read once; figures: those of the saved file")


@pytest.mark.parametrize("change", ["fingerprint", "code", "dimension", "seed", "train"])
def test_what_another_run_came_to_is_never_used(change: str, tmp_path: Path, count: Count) -> None:
    suite = load({**SUITE, "methods": ["hash"], "seeds": 1})
    [spec] = plan(suite, cache_dir=tmp_path)
    value = {"dimension": 5, "seed": 9, "train": spec.train.model_copy(update={"epochs": 9})}.get(change, "other")
    other = spec.model_copy(update={change: value})
    assert other.key != spec.key
    if change != "code":
        assert other.full_key != spec.full_key
    count("runs on other data, by other code or of other settings: other keys, so never reused")


def test_what_is_stored_is_not_served_for_other_data(tmp_path: Path, count: Count) -> None:
    """Real runs: the one that is stored is done again, and stays what it was beside the new one."""
    file = tmp_path / "d.csv"

    def called(seed: int) -> tuple[Summary, dict[str, Result]]:
        file.write_text("\n".join(rows(lambda y, c: f"v{c.integers(9)}", seed)) + "\n")
        data = {"source": "csv", "path": str(file), "labels": "y"}
        suite = load({**SUITE, "datasets": [data], "methods": ["hash"], "seeds": 1})
        specs = plan(suite, cache_dir=tmp_path / "cache")
        done = run_suite(suite, specs, tmp_path / "out", cache_dir=tmp_path / "cache")
        return done, {result.key: result for result in Store(tmp_path / "out").results()}

    done, first = called(0)
    assert done == Summary(done=1)
    assert called(0) == (Summary(done=1, cached=1), first)
    done, both = called(1)
    assert done == Summary(done=1)
    [old], [new] = first.values(), [result for key, result in both.items() if key not in first]
    assert both == {old.key: old, new.key: new}
    assert new.data_fingerprint != old.data_fingerprint
    assert new.quality != old.quality
    count("stored runs of other data: not served, done again")
