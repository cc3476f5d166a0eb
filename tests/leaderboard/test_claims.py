"""Claims: held, not held, not resolvable, not measured."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sharkbench.leaderboard.claims import Finding, findings_of, overall, write_claims
from sharkbench.results.store import NOTES, Store
from sharkbench.suite.claims import Claim
from sharkbench.tasks.ctr import Ctr
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]


def claim(**settings: Any) -> Claim:
    return Claim.model_validate({"says": "it is so", "method": "new", "at_least": 0, **settings})


def find(out: Path, **settings: Any) -> list[Finding]:
    return findings_of(Store(out), [claim(**settings)])


@pytest.fixture
def measured(add_run: AddRun, out: Path) -> Path:
    """``new`` beats ``old`` by .01 and loses .002 to ``full``, seed by seed; ``near`` cannot be told from ``new``."""
    for seed, auc in enumerate((0.80, 0.82, 0.81, 0.79)):
        wobble = (0.0002, -0.0002, 0.0001, -0.0001)[seed]
        add_run("full", None, seed, {"click": auc + 0.002, "like": auc})
        key = add_run("new", 0.25, seed, {"click": auc, "like": auc - 0.01})
        add_run("old", 0.25, seed, {"click": auc - 0.01 + wobble, "like": auc - 0.02})
        add_run("near", 0.25, seed, {"click": auc + 10 * wobble, "like": auc})
        tables = {"path": [{"seconds": 1.0, "what": "a"}, {"seconds": 2.0 + seed}]}
        (Store(out).directory(key) / NOTES).write_text(json.dumps(tables))
    return out


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"against": "old"}, "held"),
        ({"against": "old", "at_least": 0.009}, "held"),
        ({"against": "old", "at_least": 0.011}, "not held"),
        ({"against": "near"}, "not resolvable"),
        ({"against": "near", "at_least": -0.01}, "held"),
        ({"against": "full"}, "not held"),
        ({"against": "full", "at_least": -0.003}, "held"),
        ({"against": "absent"}, "not measured"),
        ({"method": "absent", "against": "old"}, "not measured"),
        ({"at_least": None, "at_most": 0.3, "figure": "bytes_ratio"}, "held"),
        ({"at_least": None, "at_most": 0.1, "figure": "bytes_ratio"}, "not held"),
        ({"figure": "bytes_ratio", "against": "full", "compare": "ratio", "at_least": None, "at_most": 0.25}, "held"),
        ({"figure": "bytes_ratio", "against": "full", "compare": "ratio", "at_least": 0.5}, "not held"),
    ],
)
def test_verdicts(measured: Path, settings: dict[str, Any], verdict: str) -> None:
    found = find(measured, labels="click", **settings)
    assert [finding.verdict for finding in found] == [verdict]
    assert overall(found) == verdict


def test_every_place_and_rival_is_looked_at(measured: Path) -> None:
    found = find(measured, against=["old", "near"])
    assert [(f.label, f.against, f.verdict) for f in found] == [
        ("click", "old", "held"),
        ("click", "near", "not resolvable"),
        ("like", "old", "held"),
        ("like", "near", "not held"),
    ]
    assert found[0].value == pytest.approx(0.01)
    assert found[0].n == 4
    assert overall(found) == "not held"
    # What labels share is looked at once.
    assert len(find(measured, figure="bytes_ratio", against="old")) == 1


def test_scope(measured: Path) -> None:
    assert len(find(measured, against="old", budgets=[0.25])) == 2
    (missing,) = find(measured, against="old", budgets=[0.5])
    assert missing.verdict == "not measured"


def test_notes_are_summed(measured: Path) -> None:
    (found,) = find(measured, figure="note:path.seconds", at_least=None, at_most=6)
    assert found.value == pytest.approx(4.5)
    assert found.verdict == "not resolvable"
    (found,) = find(measured, figure="note:path.what", at_least=0)
    assert found.verdict == "not measured"


def test_two_seeds_resolve_nothing(add_run: AddRun, out: Path) -> None:
    for seed in range(2):
        add_run("new", 0.25, seed, {"click": 0.9})
        add_run("old", 0.25, seed, {"click": 0.6})
    (found,) = find(out, against="old")
    assert (found.verdict, found.n, found.value) == ("not resolvable", 2, pytest.approx(0.3))


def test_speeds_of_different_machines_are_no_pair(add_run: AddRun, out: Path) -> None:
    for seed in range(3):
        add_run("new", 0.25, seed, {"click": 0.9}, speed=speed_of(1.0))
        add_run("full", None, seed, {"click": 0.9}, speed=speed_of(1.0, hardware="another" if seed == 2 else "a"))
    (found,) = find(out, against="full", figure="samples_per_second", compare="ratio", at_least=0.9)
    assert found.verdict == "not measured"
    (found,) = find(out, figure="model_ratio_fp32", at_least=1.0)
    assert found.verdict == "held"


def test_written_as_csv(measured: Path, tmp_path: Path) -> None:
    write_claims(tmp_path / "claims.csv", find(measured, against=["old", "absent"], labels="click"))
    with (tmp_path / "claims.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["against"], row["verdict"], row["n"]) for row in rows] == [
        ("old", "held", "4"),
        ("absent", "not measured", "0"),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at_least": None}, "either at_least or at_most"),
        ({"at_most": 1}, "either at_least or at_most"),
        ({"compare": "ratio"}, "needs a rival"),
    ],
)
def test_claims_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        claim(**settings)


def test_a_figure_is_one_of_the_tasks_metrics_or_of_what_is_measured_beside() -> None:
    assert claim().of(Ctr.metrics).figure == "auc", "the primary one"
    for figure in ("ece", "bytes_ratio", "note:path.seconds"):
        assert claim(figure=figure).of(Ctr.metrics).figure == figure
    with pytest.raises(ValueError, match="unknown figure 'aucc'; did you mean 'auc'"):
        claim(figure="aucc").of(Ctr.metrics)


def test_unknown_names_are_said() -> None:
    own = claim(against="old", datasets="kuairand")
    own.check_names(["new", "old"], ["kuairand"], ["dnn"])
    with pytest.raises(ValueError, match="unknown method 'old'; did you mean 'odd'"):
        own.check_names(["new", "odd"], ["kuairand"], ["dnn"])
    with pytest.raises(ValueError, match="unknown data set 'kuairand'"):
        own.check_names(["new", "old"], ["synthetic"], ["dnn"])
