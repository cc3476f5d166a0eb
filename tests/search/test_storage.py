"""The journal is one like any other: optuna-dashboard opens it by its path alone, to read and to write notes."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from sharkbench.search.storage import JOURNAL
from tests.search.conftest import Bench

ASKED = {"modes": ["lossless", "per_budget", "pareto"], "tune": "learning_rate", "trials": 3, "pruning": False}


def test_optuna_reads_studies_and_values_from_the_path_of_the_journal(bench: Bench) -> None:
    searched = bench.search(**ASKED)
    kept = JournalStorage(JournalFileBackend(str(searched.folder / JOURNAL)))

    assert set(optuna.get_all_study_names(storage=kept)) == {s.study.study_name for s in searched.searches}
    for search in searched.searches:
        study = optuna.load_study(study_name=search.study.study_name, storage=kept)
        assert study.study_name.startswith(f"{search.name} ")
        assert [direction.name.lower() for direction in study.directions] == list(search.directions())
        assert len(study.trials) == len(search.finished) > 0
        for trial in search.finished:
            values = search.values(trial.outcome) if trial.outcome.status == "ok" else None
            assert study.trials[trial.number].values == values


def test_others_may_write_to_the_journal_meanwhile(bench: Bench) -> None:
    journal = bench.out / "search" / JOURNAL
    journal.parent.mkdir(parents=True)
    theirs = JournalFileSymlinkLock(str(journal))
    theirs.acquire()
    [search, *_] = bench.search(**ASKED).searches
    theirs.release()

    # One that lies there is waited for half a minute by whoever else writes.
    assert not Path(f"{journal}.lock").exists()
    note = optuna.load_study(
        study_name=search.study.study_name, storage=JournalStorage(JournalFileBackend(str(journal)))
    )
    note.set_user_attr("note", "theirs")
    again = bench.search(**ASKED).searches[0]
    assert again.study.user_attrs == {"note": "theirs"}
    assert [trial.number for trial in again.finished] == [trial.number for trial in search.finished]
