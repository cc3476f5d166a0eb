# ruff: noqa: E501
"""Whatever a suite's file holds: exit code 2 and clear lines, or a plan; little time, little memory, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.counting import Count, rounds
from tests.faults.mutated_suites import CPU_SECONDS, SEED_SUITES
from tests.faults.peak import ROOT

MOST_MEMORY = 10**9
BATCH = 60


def in_a_process(*arguments: str, **more: Any) -> list[dict[str, Any]]:
    """Lines of JSON that one of this folder's programs prints."""
    # No network: a data set of the hub is refused at once, whatever its name.
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_clear(told: dict[str, Any]) -> None:
    lines = told["said"].splitlines()
    assert told["code"] in (0, 2), f"{told['code']}\n{told['said'][:1000]}"
    assert told["cpu"] < CPU_SECONDS
    assert "Traceback" not in told["said"]
    if told["code"] == 2:
        assert 1 <= len(lines) <= 21
        assert all(line.isprintable() and len(line) < 1000 for line in lines), lines


@pytest.mark.parametrize("number", rounds(2, 40))
def test_a_mutated_suite_is_planned_or_refused_in_clear_lines(number: int, tmp_path: Path, count: Count) -> None:
    *told, end = in_a_process("tests.faults.mutated_suites", str(tmp_path), str(number * BATCH), str(BATCH))
    assert len({one["seed"] for one in told}) == BATCH
    for one in told:
        assert_clear(one)
    assert end["peak"] < MOST_MEMORY
    count("mutated suites: exit code 2 with clear lines, or a plan; under 5 s and 1 GB", BATCH)
    count("... of them refused", sum(one["code"] == 2 for one in told))


def test_the_suites_that_are_mutated_are_good(tmp_path: Path) -> None:
    from sharkbench.suite.load import load

    for suite in SEED_SUITES:
        load({"name": "good", **suite})


GOOD = "datasets: [synthetic]\nbackbones: [fm]\n"
HEAVY = {
    "50 MB of text": lambda: b"a: " + b"x" * (50 << 20),
    "50 MB of lists": lambda: b"a: [" + b"1," * (25 << 20) + b"]",
    "a billion seeds": lambda: f"{GOOD}methods: [full]\nseeds: 1000000000\n".encode(),
    "20,000 seeds": lambda: f"{GOOD}methods: [full]\nseeds: {list(range(19_900))}\n".encode(),
    "one seed, 19,000 times": lambda: f"{GOOD}methods: [full]\nseeds: {[3] * 19_000}\n".encode(),
    "19,000 budgets": lambda: f"{GOOD}methods: [hash]\nbudgets: {[i / 20_000 for i in range(1, 19_000)]}\n".encode(),
    "4,000 methods": lambda: (
        f"{GOOD}budgets: [0.5]\nmethods: [{', '.join(f'{{name: hash, fraction: {i / 10_000}}}' for i in range(1, 4000))}]\n"
    ).encode(),
    "10,000 data sets": lambda: (
        f"backbones: [fm]\nmethods: [full]\ndatasets: [{', '.join(['synthetic'] * 10_000)}]\n".encode()
    ),
    "90 million runs": lambda: (
        f"{GOOD}methods: [hash]\nseeds: {list(range(9500))}\nbudgets: {[i / 10_000 for i in range(1, 9500)]}\n".encode()
    ),
    "dimension of millions": lambda: f"{GOOD}methods: [full]\ndimension: 99999999\n".encode(),
    "a field of 10^18 values": lambda: (
        b"backbones: [fm]\nmethods: [full]\ndatasets: [{source: synthetic, cardinalities: [1000000000000000000]}]\n"
    ),
    "a long word": lambda: f"{GOOD}methods: ['{'q' * 900_000}']\n".encode(),
    "long unknown keys": lambda: f"{GOOD}methods: [full]\n{'k' * 900_000}: 1\n".encode(),
    "many unknown keys": lambda: (GOOD + "".join(f"k{i}: 1\n" for i in range(19_000))).encode(),
    "many deep aliases": lambda: "".join(
        f"k{i}: &k{i} [{', '.join(f'*k{i - 1}' for _ in range(9)) if i else '1'}]\n" for i in range(300)
    ).encode(),
    "a NUL": lambda: b"a: 1\0\n",
    "a regular expression's nightmare": lambda: f"{GOOD}methods: [full]\nname: {'a' * 50_000}!\n".encode(),
}

LARGE_BUT_GOOD = ("20,000 seeds", "19,000 budgets", "4,000 methods")


@pytest.mark.parametrize("what", HEAVY)
def test_a_heavy_suite_is_cheap(what: str, tmp_path: Path, count: Count) -> None:
    file = tmp_path / "heavy.yaml"
    file.write_bytes(HEAVY[what]())
    told, end = in_a_process("tests.faults.mutated_suites", str(file))
    assert_clear(told)
    assert told["code"] == (0 if what in LARGE_BUT_GOOD else 2)
    assert end["peak"] < MOST_MEMORY
    count("heavy suites (50 MB, bombs, billions): refused, or planned, under 5 s and 1 GB")


MEANINGLESS = {
    "budgets: [0]": "a fraction above 0 and up to 1",
    "budgets: [-0.5]": "a fraction above 0 and up to 1",
    "budgets: [1.5]": "a fraction above 0 and up to 1",
    "budgets: [.nan]": "a fraction above 0 and up to 1",
    "budgets: [.inf]": "a fraction above 0 and up to 1",
    "budgets: [0MB]": "budgets[0]",
    "budgets: ['nan']": "a fraction like 0.25 or a size like 64MB",
    "seeds: 0": "seeds",
    "seeds: []": "seeds: needs at least 1 entry",
    "seeds: -1": "seeds",
    "seeds: [-1]": "seeds[0]",
    "seeds: [1, 1]": "1 stands in the list more than once",
    "dimension: 0": "dimension: must be greater than or equal to 1",
    "dimension: -4": "dimension",
    "dimension: .nan": "dimension",
    "train: {learning_rate: 0}": "train.learning_rate",
    "train: {learning_rate: .nan}": "train.learning_rate",
    "train: {epochs: 0}": "train.epochs",
    "train: {batch_size: 0}": "train.batch_size",
    "measure: {seconds: .inf}": "measure.seconds",
    "executor: {name: local, timeout: 0}": "executor.timeout",
    "executor: {name: local, timeout: .nan}": "executor.timeout",
    "datasets: []": "datasets: needs at least 1 entry",
    "methods: []": "methods: needs at least 1 entry",
    "backbones: []": "backbones: needs at least 1 entry",
    "split: {kind: random, fractions: [1, 0, 0]}": "three positive numbers",
    "split: {kind: random, fractions: [.nan, .nan, .nan]}": "must be a finite number",
}


@pytest.mark.parametrize("line", MEANINGLESS)
def test_a_value_that_means_nothing_is_refused_by_name(line: str, tmp_path: Path, count: Count) -> None:
    from sharkbench.errors import InputError
    from sharkbench.suite.load import load

    stated = {"datasets": "[synthetic]", "backbones": "[fm]", "methods": "[hash]", "budgets": "[0.5]"}
    key, _, value = line.partition(": ")
    file = tmp_path / "s.yaml"
    file.write_text("".join(f"{k}: {v}\n" for k, v in {**stated, key: value}.items()))
    with pytest.raises(InputError) as refused:
        load(file)
    assert MEANINGLESS[line] in str(refused.value)
    assert str(refused.value).startswith(f"{file}:")
    count("values that parse and mean nothing: refused by name")
