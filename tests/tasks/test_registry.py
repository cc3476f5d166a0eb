"""Tasks are plug-ins: a file or a folder, named like the task."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from sharkbench import plugins
from sharkbench.errors import InputError
from sharkbench.keys.closure import Snapshot
from sharkbench.suite.jsonschema import suite_schema
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite
from sharkbench.tasks import registry
from sharkbench.tasks.base import Task
from sharkbench.tasks.ctr import Ctr
from tests.tasks import made_up

SUITE = {"name": "s", "datasets": ["synthetic"], "backbones": ["dnn"], "methods": ["full"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(registry.FOLDERS, str(made_up.write(tmp_path / "tasks")))
    return tmp_path / "tasks"


def suite(**changes: object) -> Suite:
    return load({**SUITE, **changes})


def test_a_folder_of_a_users_own_is_a_task_with_its_settings(folder: Path) -> None:
    assert registry.names() == ["badness", "ctr"]
    task = suite(task={"name": "badness", "power": 1}).task
    assert (task.name, task.model_dump()["power"], task.primary.title) == ("badness", 1.0, "badness")


def test_what_its_settings_get_wrong_is_one_line(folder: Path) -> None:
    with pytest.raises(InputError, match="task: unknown key 'powr'; did you mean 'power'"):
        suite(task={"name": "badness", "powr": 1})
    with pytest.raises(InputError, match=r"train\.monitor: must be 'badness', got 'auc'"):
        suite(task="badness", train={"monitor": "auc"})


def test_a_suite_takes_what_its_task_calls_primary(folder: Path) -> None:
    for task, name in (("ctr", "auc"), ("badness", "badness")):
        made = suite(
            task=task,
            methods=["full", "int8"],
            search={},
            claims=[{"says": "s", "method": "int8", "at_most": 1}],
            references=[{"dataset": "synthetic", "backbone": "dnn", "value": 1, "source": "s"}],
        )
        assert made.search is not None
        said = made.train.monitor, made.claims[0].figure, made.references[0].metric, made.search.objectives[0]
        assert said == (name,) * 4


def test_the_schema_knows_it(folder: Path) -> None:
    schema = suite_schema(lambda kind: issubclass(kind, Task))
    assert schema["$defs"]["Task"]["anyOf"][0] == {"enum": ["badness", "ctr"]}
    assert schema["$defs"]["Recipe"]["properties"]["monitor"]["enum"] == ["auc", "badness", "logloss"]
    assert schema["$defs"]["Badness"]["properties"]["power"]["description"] == "Of the error."


def test_its_arithmetic_is_in_the_name_of_its_results(folder: Path) -> None:
    module = registry.get("badness").__module__
    before = Snapshot().closure([module])
    file = folder / "badness" / "arithmetic.py"
    file.write_text(file.read_text().replace("mse_loss", "l1_loss"))
    after = Snapshot().closure([module])
    assert {name for name in before if before[name] != after[name]} == {"user.badness.arithmetic"}


def test_a_file_is_a_task_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.py").write_text(
        made_up.SETTINGS.replace('"badness"', '"one"').replace("from .arith", "from arith")
    )
    (tmp_path / "_parts.py").write_text("")
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    assert registry.names() == ["ctr", "one"]
    assert registry.parse("one").primary.name == "one"


def test_the_example_of_the_docs_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "tasks.md"
    (tmp_path / "brier.py").write_text(page.read_text().split("```python\n")[1].split("```")[0])
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    task = registry.parse("brier")
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(500, 1)).astype(np.float32), rng.integers(0, 2, (500, 1)).astype(np.float32)
    quality = task.quality(scores, labels, ("y",))
    assert quality["y"]["brier"] == pytest.approx(brier_score_loss(labels[:, 0], 1 / (1 + np.exp(-scores[:, 0]))))
    blocks = task.parts_by_label(scores, labels, ("y",))["y"]["brier"].samples["rows"]
    assert np.mean(blocks) == pytest.approx(quality["y"]["brier"])


def test_another_package_brings_one(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("clicks", "sharkbench.tasks.ctr:Ctr", plugins.TASKS.group)
    monkeypatch.setattr(plugins, "_entry_points", lambda group: (point,) if group == plugins.TASKS.group else ())
    assert registry.names() == ["clicks", "ctr"]
    with pytest.raises(InputError, match="'clicks' declares the name 'ctr'"):
        registry.get("clicks")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_the_kind", "cannot be imported: ModuleNotFoundError"),
        ("x = 1", "must define exactly one Task"),
        (made_up.SETTINGS.replace("primary=True, ", ""), "exactly one metric is primary"),
        (made_up.SETTINGS, "declares the name 'badness'"),
    ],
)
def test_one_that_cannot_be_used_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "wrong.py").write_text(text)
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    with pytest.raises(InputError, match=said):
        registry.get("wrong")
    with pytest.warns(UserWarning, match=said):
        assert list(registry.available()) == ["ctr"]


def test_two_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ctr.py").write_text("")
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    with pytest.raises(InputError, match="two tasks are called 'ctr'"):
        registry.names()


def test_a_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.FOLDERS, "/nowhere/at/all")
    with pytest.raises(InputError, match="SHARKBENCH_TASKS names '/nowhere/at/all', which is not a folder"):
        registry.names()


def test_a_task_is_itself() -> None:
    assert registry.parse(Ctr(ece_bins=5)) == Ctr(ece_bins=5)
    with pytest.raises(ValueError, match="a name or a mapping with 'name'"):
        registry.parse(3)
