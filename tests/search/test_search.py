"""Trials are ordinary runs: told whatever comes out, shared between searches, and given up where they are hopeless."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from sharkbench.data.prepare import prepared_path
from sharkbench.errors import DataError, InputError
from sharkbench.keys.closure import Snapshot
from sharkbench.measure.spec import MeasureSpec
from sharkbench.results.store import Store
from sharkbench.runner.events import Message
from sharkbench.search import plots
from sharkbench.search.conduct import run_search
from sharkbench.search.events import TrialEnded
from sharkbench.search.pareto import Pareto, dominates, hypervolume
from sharkbench.search.per_budget import PerBudget
from sharkbench.search.report import importances
from sharkbench.tasks.ctr import Ctr
from tests.search.conftest import Bench
from tests.search.fakes import FULL_AUC, LEAST

TUNED = {"modes": "per_budget", "tune": ["learning_rate"], "pruning": False}


def test_the_default_is_tried_first_and_beaten(bench: Bench) -> None:
    for search in bench.search(**TUNED, trials=12).searches:
        first, best = search.finished[0], search.best()
        assert first.default
        assert first.configuration is not None
        assert (first.configuration.method, dict(first.configuration.train)) == (search.entry.spec, {})
        assert first.number == 0
        assert not any(trial.default for trial in search.finished[1:])
        assert best is not None
        assert best.outcome.value > first.outcome.value
        assert len(search.finished) == 12
        assert search.study.trials[0].params == {"train.learning_rate": 0.001}


def test_data_that_cannot_be_encoded_is_told_of_and_the_other_data_searched(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("y,a\n1,2\n0,3,4\n" * 40)
    bad = {"source": "csv", "path": str(tmp_path / "bad.csv"), "labels": "y"}
    searched = bench.search(**TUNED, trials=2, methods=["hash"], datasets=[{"source": "synthetic", "rows": 1000}, bad])
    assert [search.cell.dataset.spec.name for search in searched.searches] == ["synthetic"]
    [told] = [event.text for event in bench.events if isinstance(event, Message)]
    assert told.startswith("data set 'bad': ")
    alone = bench.suite(**TUNED, trials=2, methods=["hash"], datasets=[bad])
    prepared_path(alone.datasets[0].spec, bench.cache).rmdir()  # it stands in for data that was prepared
    with pytest.raises(DataError, match="data set 'bad': "):
        bench.search_suite(alone)


def test_the_same_configuration_is_trained_once_over_all_modes_and_calls(bench: Bench) -> None:
    modes = ["per_budget", "pareto"]
    searched = bench.search(modes=modes, tune="learning_rate", trials=3)
    began = bench.diary("began")
    assert len(set(began)) == len(began)
    assert sum(len(search.finished) for search in searched.searches) == 18
    # Each method's default at the suite's budget is the first trial in both modes.
    assert len(began) <= 18 - 3

    bench.search(modes=modes, tune="learning_rate", trials=3)
    assert bench.diary("began") == began
    bench.search(modes=modes, tune="learning_rate", trials=4)
    assert len(set(bench.diary("began"))) == len(bench.diary("began"))


def test_other_code_begins_other_studies_and_suggests_the_same(bench: Bench, tmp_path: Path) -> None:
    first = bench.search(jobs=1, **TUNED, trials=3, methods=["hash"]).searches[0]
    cell = dataclasses.replace(first.cell, code=OtherCode())
    other = PerBudget(cell, first.entry, str(f"sqlite:///{tmp_path}/o.db"), budget=first.budget)
    assert other.study.study_name != first.study.study_name
    samplers = [search._sampler(1).sample_independent for search in (first, other)]
    trial, rate = first.study.trials[1], optuna.distributions.FloatDistribution(0.0, 1.0)
    one, two = (draw(first.study, trial, "x", rate) for draw in samplers)
    assert one == two


class OtherCode(Snapshot):
    """Code that has changed."""

    def digest(self, roots: Iterable[str], without: tuple[str, ...] = ()) -> str:
        return "changed"


def test_more_trials_go_on_with_the_same_studies(bench: Bench) -> None:
    before = {s.name: [t.number for t in s.finished] for s in bench.search(**TUNED, trials=2).searches}
    after = {s.name: [t.number for t in s.finished] for s in bench.search(**TUNED, trials=5).searches}
    assert all(len(numbers) == 2 for numbers in before.values())
    assert all(sorted(numbers) == [0, 1, 2, 3, 4] for numbers in after.values())


def test_what_cannot_be_reached_is_recorded_and_kept_away_from(bench: Bench) -> None:
    searched = bench.search(
        modes="pareto", methods=["hash"], between=[0.0001, 1.0], tune="learning_rate", trials=30, seeds=1
    )
    [search] = searched.searches
    assert isinstance(search, Pareto)
    infeasible = [trial for trial in search.finished if trial.outcome.status == "infeasible"]
    assert infeasible
    for trial in infeasible:
        frozen = search.study.trials[trial.number]
        assert frozen.state == optuna.trial.TrialState.PRUNED
        assert frozen.constraints == {"infeasible": 1.0}
        assert trial.outcome.reason == "too few bytes"
        assert frozen.params["budget"] < LEAST
    early = [t for t in search.finished if t.number < 10 and t.outcome.status == "infeasible"]
    late = [t for t in search.finished if t.number >= 20 and t.outcome.status == "infeasible"]
    assert len(late) < len(early)


def test_a_failure_is_recorded_with_its_reason_and_the_search_goes_on(bench: Bench) -> None:
    [search] = bench.search(**TUNED, trials=4, methods=[{"name": "hash", "as": "diverges"}]).searches
    in_order = sorted(search.finished, key=lambda trial: trial.number)  # which of two ends first is chance
    assert [trial.outcome.status for trial in in_order] == ["ok", "failed", "failed", "failed"]
    assert "the loss is nan" in in_order[1].outcome.reason
    assert search.study.trials[1].constraints == {"failed": 1.0}
    best = search.best()
    assert best is not None
    assert best.default
    # What has failed is not done again by a later search.
    bench.search(**TUNED, trials=4, methods=[{"name": "hash", "as": "diverges"}])
    assert len(bench.diary("began")) == 4


def test_a_hopeless_trial_is_given_up_at_an_epoch(bench: Bench) -> None:
    asked = {**TUNED, "pruning": True, "methods": [{"name": "hash", "as": "slow"}], "trials": 12}
    [search] = bench.search(**asked, jobs=4).searches
    pruned = [trial for trial in search.finished if trial.outcome.status == "pruned"]
    assert pruned
    for trial in pruned:
        frozen = search.study.trials[trial.number]
        assert frozen.state == optuna.trial.TrialState.PRUNED
        assert frozen.intermediate_values
        assert not trial.default
    kept = {result.key for result in Store(bench.out / "search").results()}
    assert len(set(bench.diary("began")) - kept) == len(pruned)


def test_time_can_be_what_is_shared(bench: Bench) -> None:
    searched = bench.search(**TUNED, minutes=2, jobs=1)
    # Every run says that it took 30 seconds.
    assert {len(search.finished) for search in searched.searches} == {4}
    assert {search.seconds for search in searched.searches} == {120.0}


def test_lookups_are_timed_where_they_are_weighed(bench: Bench) -> None:
    searched = bench.search(modes="pareto", objectives=["auc", "bytes", "lookup"], trials=3, tune="learning_rate")
    ok = [t for s in searched.searches for t in s.finished if t.outcome.status == "ok"]
    assert {trial.outcome.lookup for trial in ok} == {0.5}
    assert set(bench.diary("measured")) <= set(bench.diary("began"))
    assert len(bench.diary("measured")) == len(set(bench.diary("measured")))
    assert searched.searches[0].study.trials[0].values[2] == 0.5
    measured = bench.diary("measured")
    bench.search(**TUNED, trials=3)
    assert bench.diary("measured") == measured


def test_seeds_of_a_trial_are_averaged(bench: Bench) -> None:
    [search] = bench.search(**TUNED, trials=2, seeds=[1], methods=["hash"]).searches
    assert list(search.finished[0].outcome.values) == [1_000_000]


def test_chosen_settings_are_trained_again_with_the_report_s_seeds(bench: Bench) -> None:
    suite = bench.suite(modes=["lossless", "per_budget"], tune="learning_rate", trials=4, retrain=True)
    searched = bench.search_suite(suite)
    trials, report = Store(bench.out / "search").results(), Store(bench.out).results()

    assert {result.seed for result in trials} == {1_000_000}
    assert {result.seed for result in report} == {0}
    assert not any(result.quality for result in trials)
    assert all(result.quality for result in report)
    # Where the default is chosen for full precision, its run has the name of the choice.
    assert {"full", *(result.method_label for result in report)} == {
        "full", "hash [lossless]", "qr [lossless]", "full [per_budget]", "hash [per_budget]", "qr [per_budget]"
    }  # fmt: skip
    leaderboard = (bench.out / "leaderboard.csv").read_text()
    assert "hash [lossless]" in leaderboard
    assert not (bench.out / "search" / "leaderboard.csv").exists()
    assert all(spec.judged_on == "test" for choice in searched.choices for spec in choice.specs)


def test_two_searches_do_not_work_in_one_place(bench: Bench) -> None:
    suite = bench.suite(trials=1)
    with Store(bench.out / "search").lock("search"), pytest.raises(InputError, match="another sharkbench is searching"):
        run_search(suite, bench.out, cache_dir=bench.cache)


def test_any_storage_of_optuna_will_do(bench: Bench) -> None:
    address = f"sqlite:///{bench.out.parent}/studies.db"
    bench.search(**TUNED, trials=2, storage=address)
    assert len(optuna.get_all_study_names(storage=address)) == 3
    assert not (bench.out / "search" / "optuna.journal").exists()
    with pytest.raises(InputError, match=r"search\.storage: nosuch://\*\*\*@host"):
        bench.search(**TUNED, trials=2, storage="nosuch://user:secret@host/x")


def test_every_trial_is_told_of(bench: Bench) -> None:
    searched = bench.search(**TUNED, trials=3)
    ended = [event for event in bench.events if isinstance(event, TrialEnded)]
    assert len(ended) == sum(len(search.finished) for search in searched.searches)


@pytest.mark.parametrize(
    ("points", "volume"),
    [([(0.0, 0.0)], 1.0), ([(0.5, 0.0), (0.0, 0.5)], 0.75), ([(2.0, 0.0)], 0.0), ([], 0.0), ([(0.5, 0.5)] * 2, 0.25)],
)
def test_hypervolume(points: list[tuple[float, float]], volume: float) -> None:
    assert hypervolume(points, (1.0, 1.0)) == pytest.approx(volume)
    assert hypervolume([(*point, 0.5) for point in points], (1.0, 1.0, 1.0)) == pytest.approx(volume / 2)


def test_hypervolume_is_what_random_points_find() -> None:
    import random

    rng = random.Random(0)
    points = [tuple(rng.random() for _ in range(3)) for _ in range(6)]
    drawn = [tuple(rng.random() for _ in range(3)) for _ in range(20_000)]
    hit = sum(any(all(a <= b for a, b in zip(p, d, strict=True)) for p in points) for d in drawn) / len(drawn)
    assert hypervolume(points, (1.0, 1.0, 1.0)) == pytest.approx(hit, abs=0.02)


def test_a_front_is_what_nothing_beats(bench: Bench) -> None:
    searched = bench.search(modes="pareto", trials=10, tune="learning_rate", methods=["hash"])
    [search] = searched.searches
    assert isinstance(search, Pareto)
    front = search.front()
    assert front
    for trial in search.finished:
        if trial.outcome.status == "ok" and trial not in front:
            own = search.losses(trial.outcome)
            assert any(dominates(search.losses(o.outcome), own) or search.losses(o.outcome) == own for o in front)
    assert {t.number for t in front} <= {t.number for t in search.study.best_trials}
    assert 0 < search.hypervolume() < FULL_AUC - 0.5


def test_optuna_s_plots_stand_on_one_page_that_needs_no_network(bench: Bench) -> None:
    searched = bench.search(modes=["lossless", "per_budget", "pareto"], tune=["learning_rate", "dropout"], trials=5)
    html = plots.page(searched.searches, "all <of> them")
    assert "all &lt;of&gt; them" in html
    assert html.count("Pareto-front Plot") == 3
    assert html.count("Optimization History Plot") >= 6
    assert html.count("Hyperparameter Importances") >= 3
    assert "Intermediate Values Plot" in html
    # plotly's program is there once, and nothing is fetched.
    assert html.count("plotly.js v") == 1
    assert 'src="http' not in html


def test_only_what_the_suite_wants_timed_is_timed_again(bench: Bench) -> None:
    suite = bench.suite(**TUNED, trials=2, retrain=True)
    suite = suite.model_copy(update={"measure": MeasureSpec(only=("method=hash",))})
    bench.search_suite(suite)
    store = Store(bench.out)
    timed = {result.method for result in store.results() if store.has_speed(result.key)}
    assert timed == {"hash"}
    assert {result.method for result in store.results()} == {"full", "hash", "qr"}


def test_plots_and_report_agree_on_what_decides_the_auc() -> None:
    def tried(trial: optuna.Trial) -> tuple[float, float]:
        budget, rate = trial.suggest_float("budget", 0, 1), trial.suggest_float("rate", 0, 1)
        return budget if budget < 0.5 else 0.5 + rate, budget

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(tried, n_trials=40)
    search = SimpleNamespace(
        study=study,
        mode="pareto",
        asked=SimpleNamespace(objectives=("auc", "bytes")),
        metric=Ctr().primary,
        directions=lambda: ("maximize", "minimize"),
    )
    [drawn] = [
        dict(zip(bar.y, bar.x, strict=True))
        for figure in plots._figures(search)
        for bar in figure.data
        if figure.layout.title.text == "Hyperparameter Importances" and bar.name == "auc"
    ]
    assert drawn == pytest.approx(importances(search))
