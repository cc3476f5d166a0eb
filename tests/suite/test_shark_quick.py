"""The quick suite of SHARK does what the page says: everything of it, on generated data, to the end."""

from __future__ import annotations

import json
from pathlib import Path

from sharkbench import api
from sharkbench.contract import registry
from sharkbench.field_selection.method import FieldSelection
from sharkbench.leaderboard.claims import findings_of
from sharkbench.results.store import Store
from sharkbench.suite.load import load

FEW = ("datasets.0.rows=3000", "train.epochs=1", "measure.lookup=false", "tracking.enabled=false")


def test_all_of_it_runs_and_every_claim_and_agreement_is_measured(tmp_path: Path) -> None:
    suite = load("shark_quick", FEW)
    api.run(suite, out=tmp_path / "out", jobs=2, cache_dir=tmp_path / "cache")

    store = Store(tmp_path / "out")
    ended = {result.method_label: (result.status, result.reason) for result in store.results()}
    assert ended == {entry.label: ("ok", None) for entry in suite.methods}
    findings = findings_of(store, suite.claims)
    assert {finding.claim.says for finding in findings} == {claim.says for claim in suite.claims}
    assert all(finding.value is not None for finding in findings)

    rankings = {name for name, method in registry.available().items() if issubclass(method, FieldSelection)}
    method_of = {result.key: result.method for result in store.results()}
    notes = (tmp_path / "out" / "runs").glob("*/notes.json")
    assert {method_of[file.parent.name] for file in notes if "agreement" in json.loads(file.read_text())} == rankings
