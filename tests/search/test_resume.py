"""Whatever ends a search, the next one goes on where it was: no trial is lost, none is there twice."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest

from sharkbench.cli.console import table
from sharkbench.results.store import Store
from sharkbench.runner.session import Session
from sharkbench.search.conduct import Conductor
from sharkbench.search.storage import JOURNAL, storage
from sharkbench.search.terminal import print_found
from tests.search.conftest import Bench

ROOT = Path(__file__).resolve().parents[2]
ASKED = {"modes": ["lossless", "per_budget", "pareto"], "tune": "learning_rate", "trials": 4, "pruning": False}
KILLS = 10


def trials(bench: Bench) -> dict[str, list[optuna.trial.FrozenTrial]]:
    kept = storage("", bench.out / "search")
    return {study.study_name: study.trials for study in (optuna.load_study(study_name=name, storage=kept)
            for name in optuna.get_all_study_names(storage=kept))}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[optuna.trial.FrozenTrial]]:
    bench = Bench(tmp_path_factory.mktemp("undisturbed"))
    bench.search(**ASKED)
    return trials(bench)


def test_ten_kills_lose_nothing_and_double_nothing(
    bench: Bench, undisturbed: dict[str, list[optuna.trial.FrozenTrial]]
) -> None:
    rng = random.Random(6)
    for _ in range(KILLS):
        arguments = [str(bench.out.parent), str(rng.randint(1, 30)), rng.choice(["before", "amid", "after"])]
        done = subprocess.run(
            [sys.executable, "-m", "tests.search.killed_search", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
    searched = bench.search(**ASKED)

    left = trials(bench)
    assert {name: len(found) for name, found in left.items()} == {n: len(found) for n, found in undisturbed.items()}
    for found in left.values():
        assert all(trial.state.is_finished() for trial in found)
        assert all("outcome" in trial.user_attrs for trial in found)
    for search in searched.searches:
        numbers = [trial.number for trial in search.finished]
        assert sorted(numbers) == list(range(len(numbers)))
        assert [trial.default for trial in search.finished if trial.number == 0] == [True]
    # A run that was at work when its search was killed is begun again; whatever has ended is not.
    again = {key: count for key, count in Counter(bench.diary("began")).items() if count > 1}
    assert sum(count - 1 for count in again.values()) <= 2 * KILLS
    assert set(bench.diary("began")) == set(Store(bench.out / "search").keys())


def test_half_a_line_of_a_journal_is_dropped(tmp_path: Path) -> None:
    optuna.create_study(storage=storage("", tmp_path), study_name="whole")
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code": 4, "worker')

    optuna.create_study(storage=storage("", tmp_path), study_name="another")
    assert set(optuna.get_all_study_names(storage=storage("", tmp_path))) == {"whole", "another"}
    (tmp_path / JOURNAL).write_bytes(b'{"op')
    assert optuna.get_all_study_names(storage=storage("", tmp_path)) == []


def test_a_search_that_is_ended_before_it_begins_still_reports_what_was_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"modes": "lossless", "methods": ["full", "hash"], "trials": 6}
    found = [choice.trial.number for choice in bench.search(**asked).choices]
    assert found

    def interrupted(conductor: Conductor, session: Session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Conductor, "run", interrupted)
    again = bench.search(**asked)
    assert again.interrupted
    assert [choice.trial.number for choice in again.choices] == found

    # Nor is it an error where the full-precision table is not there any more.
    shutil.rmtree(bench.out / "search" / "runs")
    print_found(bench.search(**asked), table)
    assert "lossless: synthetic/dnn hash: the full-precision table is yet to be trained" in capsys.readouterr().out
