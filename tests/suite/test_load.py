"""Where a suite comes from: files, built-in names, ``extends`` and ``--set``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sharkbench.errors import InputError
from sharkbench.suite.load import built_in, load, locate

BASE = """
description: the base
datasets: [synthetic]
backbones: [dnn]
methods: [full, qr]
budgets: [0.5]
split: {kind: random, seed: 3}
train: {epochs: 7, batch_size: 512}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    file = tmp_path / "base.yaml"
    file.write_text(BASE)
    return file


def child(base: Path, text: str, name: str = "child.yaml") -> Path:
    file = base.parent / name
    file.write_text(text)
    return file


def test_the_file_names_the_suite(base: Path) -> None:
    assert load(base).name == "base"
    assert load(child(base, BASE + "name: other\n")).name == "other"


@pytest.mark.parametrize("name", sorted(built_in()))
def test_built_in_suites_are_good(name: str) -> None:
    suite = load(name)
    assert suite.name == name
    assert suite.description


def test_names_are_built_in_and_paths_are_files(base: Path) -> None:
    assert locate("quickstart") == built_in()["quickstart"]
    assert locate("./quickstart.yaml") == Path("quickstart.yaml")
    with pytest.raises(InputError, match="no built-in suite 'quickstrt'; did you mean 'quickstart'"):
        load("quickstrt")


def test_a_suite_may_be_a_mapping() -> None:
    suite = load({"name": "s", "datasets": ["synthetic"], "backbones": ["dnn"], "methods": ["full"]}, ["seeds=2"])
    assert suite.seeds == (0, 1)


def test_extends_merges_mappings_and_replaces_the_rest(base: Path) -> None:
    suite = load(child(base, "extends: base.yaml\nmethods: [hash]\ntrain: {epochs: 1}\n"))
    assert suite.name == "child"
    assert suite.description == "the base"
    assert [entry.label for entry in suite.methods] == ["hash"]
    assert (suite.train.epochs, suite.train.batch_size) == (1, 512)


def test_extends_does_not_mix_things_of_different_kinds(base: Path) -> None:
    suite = load(child(base, "extends: ./base.yaml\nsplit: {kind: given, column: fold}\n"))
    assert suite.split is not None
    assert suite.split.kind == "given"


def test_extends_takes_built_in_suites(base: Path) -> None:
    suite = load(child(base, "extends: quickstart\nseeds: [5]\n"))
    assert suite.methods == load("quickstart").methods
    assert suite.seeds == (5,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nothing.yaml\n", "child.yaml:1: extends: no such file: "),
        ("extends: quickstrt\n", "child.yaml:1: extends: no built-in suite 'quickstrt'; did you mean 'quickstart'?"),
        ("extends: child.yaml\n", "child.yaml:1: extends: 'child.yaml' leads back to this suite"),
        ("seeds: 1\nextends: [a, b]\n", "child.yaml:2: extends: must be the path or the name of one suite"),
    ],
)
def test_extends_that_lead_nowhere(base: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(child(base, text))
    assert message in str(caught.value)


def test_a_longer_circle_is_found_too(base: Path) -> None:
    child(base, "extends: c.yaml\n", "b.yaml")
    child(base, "extends: b.yaml\n", "c.yaml")
    with pytest.raises(
        InputError, match=r"b\.yaml:1: extends: 'c\.yaml' leads back|c\.yaml:1: extends: 'b\.yaml' leads back"
    ):
        load(base.parent / "b.yaml")


def test_set_overrides_keys_and_entries(base: Path) -> None:
    suite = load(
        base,
        [
            "train.epochs=1",
            "train.learning_rate=1e-2",
            "budgets=[0.1, 2MB]",
            "methods[1]={name: qr, operation: add}",
            "executor.jobs=3",
            "split.seed=4",
        ],
    )
    assert (suite.train.epochs, suite.train.learning_rate, suite.train.batch_size) == (1, 0.01, 512)
    assert [str(budget) for budget in suite.budgets] == ["0.1", "2MB"]
    assert suite.methods[1].spec.model_dump()["operation"] == "add"
    assert suite.executor.jobs == 3
    assert suite.split is not None
    assert suite.split.seed == 4


def test_set_reaches_into_entries_by_either_spelling(base: Path) -> None:
    once = ["backbones=[{name: dnn, hidden: [8]}]"]
    assert load(base, [*once, "backbones[0].dropout=0.5"]) == load(base, [*once, "backbones.0.dropout=0.5"])


def test_later_settings_win(base: Path) -> None:
    assert load(base, ["seeds=2", "seeds=[7]"]).seeds == (7,)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epochs", "--set train.epochs: write it as key=value"),
        ("=1", "--set =1: write it as key=value"),
        ("a b=1", "--set a b=1: write it as key=value"),
        ("methods[9]=qr", "--set methods[9]: 'methods' is a list with indices 0 to 1; '9' is not one of them"),
        ("methods.qr=1", "--set methods.qr: 'methods' is a list with indices 0 to 1; 'qr' is not one of them"),
        ("methods.0.operation=add", "--set methods.0.operation: 'methods[0]' is 'full', it has no keys"),
        ("train=[1", "--set train: not YAML"),
        ("train=!!python/name:os.system x", "--set train: the tag"),
    ],
)
def test_settings_that_cannot_be_meant(base: Path, setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(base, [setting])
    assert str(caught.value).startswith(message)


def test_paths_of_data_stay_as_written(base: Path) -> None:
    """Variables are for the machine that reads the data; they are neither stored nor shown."""
    entry = "[{source: parquet, path: '${SHARKBENCH_DATA:-data}/x.parquet', labels: [y]}]"
    (dataset,) = load(base, [f"datasets={entry}"]).datasets
    assert dataset.spec.model_dump()["path"] == "${SHARKBENCH_DATA:-data}/x.parquet"


def test_loading_stays_light() -> None:
    heavy = ("torch", "lightning", "mlflow", "datasets", "pyarrow", "polars", "pandas", "rich", "typer")
    program = (
        "import sys\nfrom sharkbench.suite.load import load\nload('quickstart')\n"
        f"print(*(m for m in {heavy} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
