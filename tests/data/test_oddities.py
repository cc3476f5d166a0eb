"""Said at preparation: what no model can know, and rows that stand in two splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from sharkbench.data import oddities
from sharkbench.data.prepare import prepare
from sharkbench.data.spec import DatasetSpec

pytestmark = pytest.mark.filterwarnings("ignore:data set")
ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
ROWS = 1200


def warned(folder: Path, lines: list[str], **spec: Any) -> list[str]:
    (folder / "d.csv").write_text("\n".join(lines) + "\n")
    spec = {"source": "csv", "path": str(folder / "d.csv"), "labels": "y", **spec}
    said: list[str] = prepare(ADAPTER.validate_python(spec), folder, progress=False).summary["warnings"]
    return said


def table(extra: Any, rows: int = ROWS) -> list[str]:
    """Users, items, and a third column by row number."""
    chance = np.random.default_rng(0)
    return ["user,item,extra,y"] + [
        f"u{chance.integers(60)},{chance.integers(40)},{extra(i, chance)},{chance.integers(2)}" for i in range(rows)
    ]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (lambda i, c: f"r{i}", "no value of 'extra' in validation is known from training"),
        (lambda i, c: i if i % 20 else 0, "'extra' has 9"),
        (lambda i, c: c.integers(5), ""),
        (lambda i, c: "", ""),
        (lambda i, c: "" if i % 10 else f"r{i}", ""),
    ],
    ids=["a row number", "nearly a row number", "a good feature", "always missing", "mostly missing"],
)
def test_columns_that_say_nothing_are_named(tmp_path: Path, extra: Any, says: str) -> None:
    said = [line for line in warned(tmp_path, table(extra)) if "'extra'" in line]
    assert len(said) == bool(says)
    assert all(line.startswith(says) and "of all ids" in line for line in said)
    assert not warned(tmp_path, table(extra), ignore=["extra"])


def test_rows_in_two_splits_are_told_with_their_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oddities, "ROWS_AT_ONCE", 100)
    lines = table(lambda i, c: c.integers(1000))
    twice = [lines[0], *lines[1:601], *lines[1:601]]
    split = {"kind": "given", "train": str(tmp_path / "a.csv"), "valid": str(tmp_path / "b.csv")}
    split["test"] = str(tmp_path / "c.csv")
    for name, part in (("a", lines[1:801]), ("b", [*lines[701:801], *lines[801:1001]]), ("c", lines[1001:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([lines[0], *part]))
    spec = {"source": "csv", "labels": "y", "split": split}
    said = prepare(ADAPTER.validate_python(spec), tmp_path, progress=False).summary["warnings"]
    assert [line.partition("(")[0] for line in said] == [
        "33% of the valid rows stand in training as well, inputs and labels alike "
    ]
    assert sum("stand in training" in line for line in warned(tmp_path, twice)) == 2
    assert not warned(tmp_path, lines)


def test_rows_of_few_columns_are_alike_by_chance(tmp_path: Path) -> None:
    assert not warned(tmp_path, table(lambda i, c: 1), ignore=["item"])
