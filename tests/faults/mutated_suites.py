# ruff: noqa: E501
"""Suites that somebody got wrong, or made to do harm: mutations of good ones, a seed for each.

``python -m tests.faults.mutated_suites FOLDER FIRST COUNT`` gives them to ``sharkbench validate``, and to ``plan`` what
that accepts, in one process; it prints what they came to, a line of JSON each. With a FILE instead, it validates that.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sharkbench.cli.app import app
from tests.faults.peak import peak_bytes

SEED_SUITES: tuple[dict[str, Any], ...] = (
    {
        "description": "Everything that a suite can say.",
        "labels": ["click"],
        "split": {"kind": "temporal", "column": "hour", "fractions": [0.8, 0.1, 0.1]},
        "datasets": [
            {
                "source": "csv", "path": "none/*.csv", "name": "mine", "separator": ";", "missing": ["?"],
                "labels": [{"column": "click", "positive": ["yes"]}, {"column": "stars", "at_least": 4}],
                "numeric": {"age": {"how": "quantiles", "bins": 10}, "price": "log2"}, "group": "user",
                "multivalued": {"tags": {"separator": "|", "slots": 5}}, "ignore": ["id*"], "min_count": 3,
                "train": {"epochs": 2},
            },
            {"source": "parquet", "path": "none.parquet", "split": {"kind": "given", "column": "part"}},
            {"source": "synthetic", "rows": 1000, "cardinalities": [50, 20], "split": "random", "labels": "click"},
        ],
        "backbones": ["dnn", {"name": "dcnv2", "hidden": [32, 16], "dropout": 0.1, "train": {"learning_rate": 0.01}}],
        "dimension": 8,
        "methods": [
            "full",
            {"name": "qr", "operation": "add", "as": "qr-add"},
            {"name": "hash"},
            {"pipeline": [{"method": "qr", "budget": 0.5}, "f_quantization"]},
        ],
        "budgets": [0.5, "64MB", 1],
        "seeds": [0, 1],
        "train": {"optimizer": "lazy_adam", "learning_rate": 0.001, "epochs": 3, "batch_size": 512},
        "measure": {"seconds": 1.5, "production_rows": 1000},
        "executor": {"name": "local", "jobs": 2, "timeout": 100},
        "tracking": {"enabled": False, "uri": "sqlite:///x.db"},
        "references": [{"dataset": "mine", "backbone": "dnn", "label": "click", "value": 0.8, "source": "a paper"}],
        "claims": [{"says": "qr keeps it", "method": "qr-add", "against": "full", "at_least": -0.01}],
    },
    {"datasets": ["synthetic"], "backbones": ["fm"], "methods": ["full", "hash"], "budgets": [0.25], "seeds": 2},
    {"datasets": ["frappe_x1"], "backbones": ["deepfm"], "methods": ["shark"], "budgets": [0.1]},
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, 1e-320, math.nan, math.inf, -math.inf, 2**31, 2**63, 10**30,
    10**400, 100_000_000, "", " ", "x", "full", "synthetic", "0.5", "1e999", "-5MB", "9999999TB", "null", "\0", "a\nb",
    "\x1b[31m", "é", "\u202e", "\U0001f9a8" * 50, "x" * 100_000, "../../etc/passwd", "/dev/zero", "/dev/stdin",
    "/proc/self/mem", "~nobody/x", "${HOME", "$UNSET_NAME", "${UNSET:-x}", "*" * 60, "[a", "{{7*7}}", "${jndi:x}", "'", '"',
    "<script>", "=1+1", "__import__('os')", "a.b.c", "2001-01-01", "0x10", "0o7", "1_000", [], {}, [[]], [None], {"": 1},
    {"name": "full"}, {"name": None}, [0.5] * 300, list(range(2000)), [["full"]], {"x": {"y": {"z": 1}}}, {"kind": "given"},
    {"pipeline": []}, {"pipeline": ["full", "full"]}, {"source": "csv"},
)  # fmt: skip
KEYS = (
    "name",
    "train",
    "as",
    "extends",
    "<<",
    "",
    "x",
    "labels",
    "Datasets",
    "__class__",
    "model_config",
    "é",
    "a.b",
    "0",
)

CPU_SECONDS = 5.0
Path_ = list[Any]


def places(value: Any, at: Path_ | None = None) -> list[Path_]:
    """Paths to the values of a document, but for the depths of one that is very large already."""
    at = at or []
    items = value.items() if isinstance(value, dict) else enumerate(value[:50]) if isinstance(value, list) else ()
    return [at, *(place for key, item in items if len(at) < 45 for place in places(item, [*at, key]))]


def reached(document: Any, place: Path_) -> Any:
    for step in place:
        document = document[step]
    return document


def nasty(chance: random.Random) -> Any:
    """A value that is likely to be wrong."""
    return copy.deepcopy(chance.choice(VALUES))


def edit(document: Any, chance: random.Random) -> Any:
    """One change to the document's structure, in place where it can be."""
    place = chance.choice(places(document))
    if not place:
        return chance.choice([document, [document], nasty(chance)])
    parent, key = reached(document, place[:-1]), place[-1]
    what = chance.choice(["value", "value", "value", "delete", "key", "more", "double", "nest", "wrap", "swap", "many"])
    if what == "value":
        parent[key] = nasty(chance)
    elif what == "delete":
        del parent[key]
    elif what == "key" and isinstance(parent, dict):
        word = str(key)
        at = chance.randrange(len(word) or 1)
        misspelt = word[:at] + chance.choice(["", "x", word[at : at + 1] * 2, "-", " "]) + word[at + 1 :]
        parent[chance.choice([misspelt, word.upper(), chance.choice(KEYS)])] = parent.pop(key)
    elif what == "more" and isinstance(parent, dict):
        parent[chance.choice(KEYS)] = nasty(chance)
    elif what == "double" and isinstance(parent, list):
        parent.insert(chance.randrange(len(parent) + 1), parent[key])
    elif what == "nest":
        for _ in range(chance.choice([1, 10, 39, 60, 200])):
            parent[key] = chance.choice([[parent[key]], {"x": parent[key]}])
    elif what == "wrap":
        parent[key] = chance.choice([[parent[key]], {str(key): parent[key]}, str(parent[key])])
    elif what == "swap":
        parent[key] = copy.deepcopy(reached(document, chance.choice(places(document))))
    elif what == "many":
        flat = not isinstance(parent[key], dict | list)
        parent[key] = [parent[key]] * chance.choice([2, 50, 500, 30_000 if flat else 100])
    return document


def written(document: Any, chance: random.Random) -> bytes:
    """The document as YAML, sometimes with damage that only text can have."""
    if chance.random() < 0.3:
        text = json.dumps(document)
    else:
        dumper = yaml.SafeDumper if chance.random() < 0.5 else _Plain
        text = yaml.dump(document, Dumper=dumper, allow_unicode=chance.random() < 0.5, width=1000)
    lines = text.splitlines(keepends=True) or [""]
    at = chance.randrange(len(lines))
    damage: dict[str, Callable[[], None]] = {
        "anchor": lambda: lines.insert(0, "_a: &a [1, &b {c: *a}]\n"),
        "alias": lambda: lines.append("x: *nowhere\n"),
        "bomb": lambda: lines.insert(0, _bomb(chance.choice([9, 30, 200]))),
        "merge": lambda: lines.append("<<: {seeds: 3}\n"),
        "tag": lambda: lines.append(chance.choice(["x: !!python/object/apply:os.system [id]\n", "x: !x 1\n"])),
        "second document": lambda: lines.append("---\na: 1\n"),
        "tab": lambda: lines.insert(at, "\tx: 1\n"),
        "colon": lambda: lines.insert(at, "a: b: c\n"),
        "quote": lambda: lines.insert(at, "a: 'open\n"),
        "twice": lambda: lines.extend(lines[:1]),
        "directive": lambda: lines.insert(0, "%YAML 9.9\n---\n"),
        "cut": lambda: lines.__setitem__(slice(at, None), [lines[at][: len(lines[at]) // 2]]),
    }
    if chance.random() < 0.35:
        damage[chance.choice(sorted(damage))]()
    raw = bytearray("".join(lines).encode("utf-8", "surrogatepass"))
    if chance.random() < 0.15 and raw:
        for _ in range(chance.choice([1, 3, 30])):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw) if chance.random() > 0.02 else bytes(raw).decode("utf-8", "replace").encode("utf-16")


class _Plain(yaml.SafeDumper):
    """Writes shared values out instead of as aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _bomb(levels: int) -> str:
    lines = ["_0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"_{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def mutant(seed: int) -> bytes:
    """The suite with this number."""
    chance = random.Random(seed)
    document: Any = json.loads(json.dumps(chance.choice(SEED_SUITES)))
    for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
        # What has grown large is left alone: it would grow by factors.
        if isinstance(document, dict | list) and len(repr(document)) < 20_000:
            document = edit(document, chance)
    return written(document, chance)


class TooLong(BaseException):
    """A command has computed for more than :data:`CPU_SECONDS`."""


def too_long(number: int, frame: Any) -> None:
    raise TooLong


def told(arguments: list[str]) -> tuple[int | str, str]:
    """Exit code of a command and what it said on stderr; a traceback in place of the code where one got through."""
    said = io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code: int | str = app(arguments, standalone_mode=False) or 0
    except BaseException as error:
        exit_code = getattr(error, "exit_code", None)
        code = exit_code if exit_code is not None else traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return code, said.getvalue()


def main() -> None:
    signal.signal(signal.SIGPROF, too_long)
    if len(sys.argv) == 2:
        tell("validate", sys.argv[1])
    else:
        try_mutants(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"peak": peak_bytes()}))


def tell(command: str, file: str, *more: str, seed: int = -1) -> int | str:
    """Print what a command came to."""
    began = time.process_time()
    code, said = told([command, file, *more])
    seconds = time.process_time() - began
    print(json.dumps({"seed": seed, "command": command, "code": code, "said": said, "cpu": seconds}), flush=True)
    return code


def try_mutants(folder: Path, first: int, count: int) -> None:
    for seed in range(first, first + count):
        file = folder / "mutant.yaml"
        file.write_bytes(mutant(seed))
        if tell("validate", str(file), seed=seed) == 0:
            tell("plan", str(file), "--cache", str(folder / "cache"), "--out", str(folder / "out"), seed=seed)


if __name__ == "__main__":
    main()
