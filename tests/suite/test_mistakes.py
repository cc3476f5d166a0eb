"""Every mistake is one line: file, line, key, what is wrong, and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharkbench.errors import InputError
from sharkbench.suite.load import load

GOOD = {
    "datasets": "[synthetic]",
    "backbones": "[dnn]",
    "methods": "[full, hash, qr]",
    "budgets": "[0.5, 64MB]",
    "seeds": "2",
    "train": "{epochs: 1}",
}


def written(folder: Path, **changes: str) -> Path:
    """A good suite with some keys changed, one key per line (the first is ``datasets``, on line 1)."""
    file = folder / "s.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in {**GOOD, **changes}.items()))
    return file


def complaints(source: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(source, overrides)
    return str(caught.value).splitlines()


CASES = [
    ("datasets", "[syntetic]", "datasets[0]: unknown data set 'syntetic'; did you mean 'synthetic'?"),
    ("datasets", "[{source: parquett}]", "datasets[0]: unknown source 'parquett'; did you mean 'parquet'?"),
    ("datasets", "[{rows: 5000}]", "datasets[0]: 'source' is missing"),
    ("datasets", "[{source: synthetic, rowz: 1}]", "datasets[0]: unknown key 'rowz'; did you mean 'rows'?"),
    ("datasets", "[{source: synthetic, trainn: {}}]", "datasets[0]: unknown key 'trainn'; did you mean 'train'?"),
    ("datasets", "[{source: synthetic, rows: many}]", "datasets[0].rows: must be a valid integer, got 'many'"),
    (
        "datasets",
        "[{source: synthetic, split: {kind: temporl}}]",
        "datasets[0].split: unknown kind 'temporl'; did you mean 'temporal'?",
    ),
    ("datasets", "[synthetic, synthetic]", "datasets: two of them are called 'synthetic'; give one another 'name'"),
    ("datasets", "[]", "datasets: needs at least 1 entry, has 0"),
    ("datasets", "", "datasets: must be a list, got nothing"),
    ("datasets", "[5]", "datasets[0]: must be a mapping with 'source', got 5"),
    ("backbones", "[depfm]", "backbones[0]: unknown backbone 'depfm'; did you mean 'deepfm'?"),
    ("backbones", "[{name: dnn, hiden: [8]}]", "backbones[0]: unknown key 'hiden'; did you mean 'hidden'?"),
    ("backbones", "[{name: dnn, hidden: [0]}]", "backbones[0].hidden[0]: must be greater than 0, got 0"),
    ("backbones", "[{hidden: [8]}]", "backbones[0]: 'name' is missing"),
    ("backbones", "[dnn, {name: dnn, hidden: [8]}]", "backbones: two of them are called 'dnn'; list each once"),
    (
        "backbones",
        "[{name: dnn, train: {epoch: 1}}]",
        "backbones[0].train: unknown key 'epoch'; did you mean 'epochs'?",
    ),
    ("backbones", "[{name: dnn, train: {epochs: 0}}]", "backbones[0].train.epochs: must be greater than 0, got 0"),
    (
        "datasets",
        "[{source: synthetic, train: {optimizer: addam}}]",
        "datasets[0].train.optimizer: must be 'adam', 'lazy_adam', 'rowwise_adagrad' or 'sgd', got 'addam'; "
        "did you mean 'adam'?",
    ),
    ("methods", "[full, qr_trik]", "methods[1]: unknown method 'qr_trik'; did you mean 'qr'?"),
    ("methods", "[{name: qr, operatoin: add}]", "methods[0]: unknown key 'operatoin'; did you mean 'operation'?"),
    (
        "methods",
        "[{name: qr, operation: mul}]",
        "methods[0].operation: must be 'mult', 'add' or 'concat', got 'mul'; did you mean 'mult'?",
    ),
    ("methods", "[{operation: add}]", "methods[0]: a method needs a 'name'"),
    ("methods", "[3]", "methods[0]: a method is a name, a mapping with 'name', or a pipeline; got 3"),
    ("methods", "[{pipeline: []}]", "methods[0]: a pipeline is a list of methods"),
    (
        "methods",
        "[{pipeline: [{name: hash, budget: 0.5}, {name: qr, operatoin: add}]}]",
        "methods[0].pipeline[1]: unknown key 'operatoin'; did you mean 'operation'?",
    ),
    (
        "methods",
        "[{pipeline: [{name: hash, budget: lots}, qr]}]",
        "methods[0].pipeline[0].budget: a budget is a fraction like 0.25 or a size like 64MB; got 'lots'",
    ),
    (
        "methods",
        "[qr, hash, qr]",
        "methods: methods[0] and methods[2] are the same method with the same settings",
    ),
    (
        "methods",
        "[qr, {name: hash, as: qr}]",
        "methods: methods[0] and methods[1] would both be called 'qr'; "
        "remove one, or tell them apart with 'as: some label'",
    ),
    (
        "budgets",
        "[0.5, 2]",
        "budgets[1]: a budget is a fraction above 0 and up to 1, or a size with a unit like 64MB; got 2",
    ),
    ("budgets", "[0.5, 0.50]", "budgets: 0.5 stands in the list more than once"),
    ("budgets", "[]", "'budgets' is missing, and 'hash' needs them; add a line like 'budgets: [0.5, 0.1]'"),
    ("seeds", "[0, 0]", "seeds: 0 stands in the list more than once"),
    ("seeds", "[-1]", "seeds[0]: must be greater than or equal to 0, got -1"),
    ("seeds", "0", "seeds: must be a list, got 0"),
    ("train", "{epoch: 1}", "train: unknown key 'epoch'; did you mean 'epochs'?"),
    ("train", "3", "train: must be a mapping, got 3"),
    ("dimension", "1.5", "dimension: must be a valid integer, got 1.5"),
    ("train", "{monitor: acu}", "train.monitor: must be 'auc' or 'logloss', got 'acu'; did you mean 'auc'?"),
    ("train", "{monitor: ece}", "train.monitor: must be 'auc' or 'logloss', got 'ece'"),
    (
        "backbones",
        "[{name: dnn, train: {monitor: loglos}}]",
        "backbones[0].train.monitor: must be 'auc' or 'logloss', got 'loglos'; did you mean 'logloss'?",
    ),
    (
        "methods",
        "[full, {name: permutation, measure: acu}]",
        "methods[1]: unknown metric 'acu'; did you mean 'auc'?",
    ),
    ("task", "{name: ctr, ece_bin: 5}", "task: unknown key 'ece_bin'; did you mean 'ece_bins'?"),
    ("task", "{name: ctr, ece_bins: 1}", "task.ece_bins: must be greater than or equal to 2, got 1"),
    (
        "references",
        "[{dataset: d, backbone: dnn, metric: acu, value: 0.8, source: s}]",
        "references: unknown metric 'acu'; did you mean 'auc'?",
    ),
    (
        "claims",
        "[{says: s, method: hash, figure: loglos, at_least: 0}]",
        "claims: unknown figure 'loglos'; did you mean 'logloss'?",
    ),
    (
        "search",
        "{objectives: [acu, bytes]}",
        "search.objectives[0]: must be 'auc' or 'bytes' or 'lookup', got 'acu'; did you mean 'auc'?",
    ),
    ("search", "{objectives: [auc]}", "search.objectives: needs at least 2 entries, has 1"),
    ("search", "{tolerance: 1}", "search.tolerance: must be less than 1, got 1: AUC can lose no more"),
    ("task", "ctrr", "task: unknown task 'ctrr'; did you mean 'ctr'?"),
    ("executor", "{jobs: 0}", "executor.jobs: must be greater than or equal to 1, got 0"),
    ("executor", "rya", "executor: unknown executor 'rya'; did you mean 'ray'?"),
    (
        "executor",
        "{name: ray, memory: '8'}",
        "executor.memory: a size is a number with a unit, like 64MB or 1.5GiB; got '8'",
    ),
    (
        "executor",
        "{name: ray, address: here}",
        "executor.address: must be auto, local, host:port or ray://host:port, got 'here'",
    ),
    ("executor", "{name: ray, num_gpu: 1}", "executor: unknown key 'num_gpu'; did you mean 'num_gpus'?"),
    ("tracking", "{uri: 5}", "tracking.uri: must be a valid string, got 5"),
    ("name", "../x", "name: '../x' must be letters, digits, '_', '-' and '.', as it names a directory too"),
    ("labels", "{column: a, nam: b}", "labels: unknown key 'nam'; did you mean 'name'?"),
    ("split", "tempral", "split: unknown kind 'tempral'; did you mean 'temporal'?"),
    ("budget", "[0.5]", "unknown key 'budget'; did you mean 'budgets'?"),
]


@pytest.mark.parametrize(("key", "value", "message"), CASES, ids=[f"{key}: {value}" for key, value, _ in CASES])
def test_one_mistake_is_one_line(tmp_path: Path, key: str, value: str, message: str) -> None:
    file = written(tmp_path, **{key: value})
    keys = list({**GOOD, key: value})
    line = f"{file}:{keys.index(key) + 1}"
    if message.startswith("'budgets' is missing"):
        line = str(file)  # said of the suite as a whole
    assert complaints(file) == [f"{line}: {message}"]


def test_missing_keys_are_named(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("description: nothing yet\n")
    assert complaints(file) == [f"{file}: '{key}' is missing" for key in ("datasets", "backbones", "methods")]


def test_mistakes_come_in_the_order_of_the_file_with_their_own_lines(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "train:\n  epochs: none\nmethods:\n  - name: qr\n    operation: mul\n  - fulll\n"
        "backbones: [dnn]\nbudgets: [0.5]\ndatasets:\n  - source: synthetic\n    rows: 1\n"
    )
    assert [line.split(": ")[:2] for line in complaints(file)] == [
        [f"{file}:2", "train.epochs"],
        [f"{file}:5", "methods[0].operation"],
        [f"{file}:6", "methods[1]"],
        [f"{file}:11", "datasets[0].rows"],
    ]


def test_a_mistake_in_what_data_sets_share_lies_where_it_is_written(tmp_path: Path) -> None:
    file = written(tmp_path, split="{kind: random, fractions: [1, 2]}")
    assert complaints(file) == [f"{file}:7: split.fractions: item [2] is missing"]


def test_a_mistake_in_an_extended_suite_names_that_file(tmp_path: Path) -> None:
    base = written(tmp_path, train="{epoch: 1}")
    child = tmp_path / "child.yaml"
    child.write_text("extends: s.yaml\nseeds: none\n")
    assert complaints(child) == [
        f"{child}:2: seeds: must be a list, got 'none'",
        f"{base}:6: train: unknown key 'epoch'; did you mean 'epochs'?",
    ]


def test_a_mistake_in_an_override_names_the_override(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert complaints(file, "train.epoch=1") == [
        "--set train.epoch: train: unknown key 'epoch'; did you mean 'epochs'?"
    ]
    assert complaints(file, "train.epochs=few") == [
        "--set train.epochs: train.epochs: must be a valid integer, got 'few'"
    ]


def test_very_many_mistakes_are_cut_short(tmp_path: Path) -> None:
    file = written(tmp_path, methods=f"[{', '.join(f'nope{i}' for i in range(50))}]")
    said = complaints(file)
    assert len(said) == 21
    assert said[-1].endswith("and 30 more")


def test_what_is_quoted_cannot_break_the_line(tmp_path: Path) -> None:
    file = written(tmp_path, datasets=r'["a\nb\x1b[2J"]')
    assert complaints(file)[0].startswith(rf"{file}:1: datasets[0]: unknown data set 'a\nb\x1b[2J'")


def test_a_method_file_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_one.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.setenv("SHARKBENCH_METHODS", str(tmp_path))
    said = complaints(written(tmp_path, methods="[broken_one]"))
    assert said == [
        f"{tmp_path / 's.yaml'}:3: methods[0]: method 'broken_one' cannot be imported: "
        "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"
    ]


WORDS = """
name source kind train split labels path rows hidden epochs operation pipeline budget synthetic csv kuairand criteo
bars dnn deepfm full hash qr random temporal given local ctr column numeric how log2 categorical as
"""
_words = st.sampled_from(WORDS.split())
_scalars = st.one_of(_words, st.none(), st.booleans(), st.integers(-5, 5), st.floats(), st.text(max_size=5))
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_words, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    key=st.sampled_from([*GOOD, "labels", "split", "task", "measure", "executor", "tracking", "name"]), value=_values
)
def test_whatever_a_key_holds_it_is_taken_or_refused_with_its_place(key: str, value: object) -> None:
    suite = {"name": "s", "datasets": ["synthetic"], "backbones": ["dnn"], "methods": ["full"], key: value}
    try:
        load(suite)
    except InputError as error:
        for line in str(error).splitlines():
            assert line.startswith("suite: ")
            assert "pydantic" not in line
