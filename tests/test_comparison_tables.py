"""The tables of docs/comparison.md: which seeds count, what is subtracted from what, and what stands in a cell."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
NAMES = (
    *("method", "budget", "seed", "label", "backbone", "status", "superseded"),
    *("auc", "bytes_ratio", "train_epochs", "lookups_ratio_torch", "large_lookups_ratio_torch"),
)


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(DOCS)
    module = importlib.import_module("comparison_tables")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    module._read.cache_clear()
    yield module
    module._read.cache_clear()


@pytest.fixture
def lines(tables: ModuleType, tmp_path: Path) -> Callable[..., dict[str, list[str]]]:
    """The table of runs: the cells behind each method's name."""

    def made(*runs: dict[str, str], timed: bool = False) -> dict[str, list[str]]:
        (tmp_path / "some").mkdir()
        with (tmp_path / "some" / "runs.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, NAMES)
            writer.writeheader()
            writer.writerows(runs)
        _, found = tables.falls("some", "dnn", timed=timed)
        return {first: rest for first, *rest in found}

    return made


def run(
    method: str, budget: str = "", auc: str = "", seed: str = "0", label: str = "click", **others: str
) -> dict[str, str]:
    status = "ok" if auc else "infeasible"
    ratio = budget or "1"
    known = {
        "backbone": "dnn",
        "status": status,
        "bytes_ratio": ratio if auc else "",
        "train_epochs": "2" if auc else "",
    }
    return {"method": method, "budget": budget, "auc": auc, "seed": seed, "label": label} | known | others


def test_a_seed_is_compared_with_its_own_full_table_and_labels_are_averaged(
    lines: Callable[..., dict[str, list[str]]],
) -> None:
    found = lines(
        run("full", auc="0.7000"),
        run("full", auc="0.6000", label="view"),
        run("full", auc="0.7100", seed="1"),
        run("full", auc="0.6100", seed="1", label="view"),
        run("small", "0.5", "0.6990"),  # 10 less
        run("small", "0.5", "0.5970", label="view"),  # 30 less: 20 in the mean
        run("small", "0.5", "0.7060", seed="1"),  # 40 less
        run("small", "0.5", "0.6060", seed="1", label="view"),
    )

    assert found == {"`small`": ["−30 ± 14", "", "", "", "", "2.0"]}


def test_a_seed_that_lacks_a_run_does_not_count(lines: Callable[..., dict[str, list[str]]]) -> None:
    found = lines(
        *(run("full", auc="0.7", seed=seed) for seed in "01"),
        *(run("small", "0.5", auc, seed=seed) for seed, auc in (("0", "0.69"), ("1", "0.60"))),
        run("small", "0.1", "0.68"),
    )

    assert found["`small`"][:3] == ["−100", "", "−200"]


def test_an_infeasible_run_makes_a_seed_no_less_complete(lines: Callable[..., dict[str, list[str]]]) -> None:
    found = lines(
        *(run("full", auc="0.7", seed=seed) for seed in "01"),
        *(run("small", "0.5", "0.69", seed=seed) for seed in "01"),
        *(run("small", "0.05", seed=seed) for seed in "01"),
    )

    assert found["`small`"][:4] == ["−100 ± 0", "", "", "infeasible"]


def test_where_seeds_failed_it_is_said_how_many_did_not(lines: Callable[..., dict[str, list[str]]]) -> None:
    found = lines(
        *(run("full", auc="0.7", seed=seed) for seed in "012"),
        *(run("small", "0.1", auc, seed=seed) for seed, auc in (("0", "0.69"), ("1", ""), ("2", "0.69"))),
    )

    assert found["`small`"][2] == "−100 ± 0 (2 of 3 seeds)"


def test_bytes_are_said_where_a_budget_is_not_used_or_there_is_none(lines: Callable[..., dict[str, list[str]]]) -> None:
    found = lines(
        run("full", auc="0.7"),
        run("coarse", "0.5", "0.7", bytes_ratio="0.474"),
        run("coarse", "0.25", "0.7", bytes_ratio="0.2376"),
        run("one size", auc="0.7", bytes_ratio="0.3125"),
    )

    assert found["`coarse`"][:2] == ["0 (47.4%)", "0"]
    assert found["`one size`"][:5] == ["", "", "", "", "0 (31.2%)"]


def test_runs_that_newer_ones_replaced_and_other_backbones_are_left_out(
    lines: Callable[..., dict[str, list[str]]],
) -> None:
    found = lines(
        run("full", auc="0.7"),
        run("small", "0.5", "0.5", superseded="true"),
        run("small", "0.5", "0.4", backbone="dlrm"),
        run("small", "0.5", "0.6999"),
    )

    assert found["`small`"][0] == "−1"


def test_the_best_at_a_quarter_come_first_and_ties_stand_by_name(lines: Callable[..., dict[str, list[str]]]) -> None:
    found = lines(
        run("full", auc="0.7"),
        run("never"),
        run("c", "0.25", "0.69"),
        run("a", "0.25", "0.69"),
        run("b", "0.5", "0.72"),
        run("b", "0.25", "0.68"),
        run("only a tenth", "0.1", "0.695"),
    )

    assert list(found) == ["`only a tenth`", "`a`", "`c`", "`b`", "`never`"]


def test_lookups_are_those_of_the_last_seed_that_was_timed(lines: Callable[..., dict[str, list[str]]]) -> None:
    timings = {"0": "1.5", "1": "2.5", "2": ""}
    found = lines(
        *(run("full", auc="0.7", seed=seed) for seed in timings),
        *(run("small", "0.25", "0.7", seed=seed, lookups_ratio_torch=ratio) for seed, ratio in timings.items()),
        *(run("one size", auc="0.7", seed=seed, large_lookups_ratio_torch=ratio) for seed, ratio in timings.items()),
        timed=True,
    )

    assert {name: cells[-2:] for name, cells in found.items()} == {"`small`": ["2.5", ""], "`one size`": ["", "2.5"]}
