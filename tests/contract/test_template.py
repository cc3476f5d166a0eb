"""What ``sharkbench new`` writes is a method that keeps the contract as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharkbench.contract import registry
from sharkbench.contract.check import check_method
from sharkbench.contract.template import write_template
from sharkbench.errors import InputError


def test_the_template_passes_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_template("my_own_trick", tmp_path)
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    outcomes = list(check_method("my_own_trick"))
    assert outcomes
    assert [o for o in outcomes if not o.passed] == []
    assert "class MyOwnTrick(Method)" in file.read_text()


def test_checks_find_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_template("overruns", tmp_path)
    greedy = file.read_text().replace("largest_fraction(nbytes, budget", "largest_fraction(nbytes, 2 * budget")
    file.write_text(greedy.replace(".. math::", ""))
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    failed = {o.check: o.message for o in check_method("overruns") if not o.passed}
    assert set(failed) == {"states title, paper, year, family and equation", "meets budgets"}
    assert "allowed" in failed["meets budgets"]


@pytest.mark.parametrize("name", ["", "Mine", "a-b", "../x", "1st", "a b"])
def test_names_that_cannot_be_methods_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a method's name"):
        write_template(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("precious")
    with pytest.raises(InputError, match="exists"):
        write_template("mine", tmp_path)
    assert (tmp_path / "mine.py").read_text() == "precious"
