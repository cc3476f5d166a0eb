"""The layout keeps its promises: imports point down, nothing names a method, and what should be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs.layers import LAYERS, UPWARD
from sharkbench.contract import registry
from sharkbench.formats.codec import CODES
from sharkbench.tasks import registry as tasks

ROOT = Path(__file__).resolve().parent.parent

RANK = {room: rank for rank, line in enumerate(LAYERS) for room in line}

HEAVY = ("torch", "lightning", "mlflow", "datasets", "pyarrow", "polars", "scipy", "optuna")


@cache
def syntax_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def core_files() -> list[Path]:
    return sorted((ROOT / "sharkbench").rglob("*.py"))


def method_files() -> list[Path]:
    folder = ROOT / "methods"
    return sorted(file for file in folder.rglob("*.py") if file != folder / "__init__.py")


def method_of(file: Path) -> str:
    """The method that a file under methods/ belongs to."""
    return file.relative_to(ROOT / "methods").with_suffix("").parts[0]


def room_of(module: str) -> str:
    return module.split(".")[1]


def room_of_file(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] != "sharkbench" else parts[1]


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import of this package that is carried out, at the top or in a function."""
    for_types_only = {
        inner
        for node in ast.walk(syntax_of(file))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(syntax_of(file)):
        if node in for_types_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "sharkbench":
            yield from ((node.lineno, f"sharkbench.{alias.name}") for alias in node.names if alias.name[0] != "_")
        elif isinstance(node, ast.ImportFrom) and (module := absolute(node, file)).startswith("sharkbench."):
            yield node.lineno, module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("sharkbench."))


def absolute(node: ast.ImportFrom, file: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = file.relative_to(ROOT).parent.parts
    package = parts if parts[0] == "sharkbench" else ("sharkbench", *parts)
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def test_imports_point_down() -> None:
    wrong = []
    for file in [*core_files(), *method_files()]:
        own = room_of_file(file)
        if own == "__init__":
            continue  # it forwards `run` and `load` when they are asked for
        for line, module in imports(file):
            other = room_of(module)
            assert {own, other} <= RANK.keys(), f"{own} or {other} is new: say in docs/layers.py where it stands"
            if RANK[own] > RANK[other] and (own, other) not in UPWARD:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in core_files()}
    needs = {module: set(needed(file, known)) - {module} for module, file in known.items()}
    circles = {tuple(sorted(path)) for module in needs if (path := way_back(module, needs))}
    # The store reads the spec that the runner wrote, when asked.
    assert not [path for path in circles if not {"sharkbench.results.store", "sharkbench.suite.run"} <= set(path)]


def needed(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports, at the top or in a function; not for types only."""
    for_types_only = {
        inner
        for node in ast.walk(syntax_of(file))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(syntax_of(file)):
        if node in for_types_only:
            continue
        if isinstance(node, ast.ImportFrom):
            base = absolute(node, file)
            named = (f"{base}.{alias.name}" for alias in node.names)
            yield from ((one if one in known else base) for one in named if one in known or base in known)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def way_back(module: str, needs: dict[str, set[str]]) -> list[str]:
    """Modules on a way from ``module`` to itself, none where there is no such way."""
    before: dict[str, str] = {}
    queue = [module]
    while queue:
        at = queue.pop()
        for other in needs.get(at, ()):
            if other == module:
                path = [at]
                while path[-1] != module:
                    path.append(before[path[-1]])
                return path
            if other not in before:
                before[other] = at
                queue.append(other)
    return []


@pytest.mark.parametrize("room", ["tracking", "leaderboard"])
def test_views_know_the_store_and_nothing_of_the_run(room: str) -> None:
    allowed = {room, "results", "suite", "errors", "files", "text"}
    files = [file for file in core_files() if room_of_file(file) == room]

    assert files
    assert {room_of(module) for file in files for _, module in imports(file)} <= allowed


def test_methods_know_the_contract_and_no_plumbing() -> None:
    plumbing = {"sharkbench.contract.registry", "sharkbench.measure", "sharkbench.results.store"}
    wrong = [
        f"{file.name}:{line} imports {module}"
        for file in method_files()
        for line, module in imports(file)
        if any(module == one or module.startswith(f"{one}.") for one in plumbing)
    ]
    assert not wrong, "\n".join(wrong)


def test_methods_take_nothing_from_each_other_but_the_methods() -> None:
    wrong = [
        f"{file.name}:{node.lineno} imports {alias.name}"
        for file in method_files()
        for node in ast.walk(syntax_of(file))
        if isinstance(node, ast.ImportFrom) and (module := absolute(node, file)).startswith("sharkbench.methods.")
        if (other := module.split(".")[2]) != method_of(file)
        for alias in node.names
        if module != f"sharkbench.methods.{other}" or alias.name != registry.get(other).__name__
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_a_method_by_name() -> None:
    wrong = [file for file in core_files() for _, module in imports(file) if module.startswith("sharkbench.methods")]
    assert not wrong


SHARED_BY_METHODS = ("sharkbench.tables.", "sharkbench.field_selection.", "sharkbench.contract.passes")
"""What methods share. What only one of them needs is at home in its own folder."""


COMPOSITION = ("sharkbench.tables.row_groups",)
"""What tables are composed of stands with the other parts of the composition, whoever needs it as yet."""


def users_of_shared_modules() -> dict[str, set[str]]:
    """Of each module of tables/, the methods that use it, themselves or by way of what methods share."""
    needs: dict[str, set[str]] = {}
    for file in core_files():
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        needs[module] = {other for _, other in imports(file)}
    tables = [module for module in needs if module.startswith("sharkbench.tables.") and module[-9:] != ".__init__"]
    users: dict[str, set[str]] = {module: set() for module in tables}
    for file in method_files():
        # Every method is handed the workbench.
        reached, queue = set(), ["sharkbench.contract.workbench", *(module for _, module in imports(file))]
        while queue:
            module = queue.pop()
            if module in reached:
                continue
            reached.add(module)
            if module.startswith(SHARED_BY_METHODS) or module == "sharkbench.contract.workbench":
                queue += needs[module]
        for module in reached & users.keys():
            users[module].add(method_of(file))
    return users


def test_what_stands_in_tables_serves_several_methods() -> None:
    users = users_of_shared_modules()
    assert len(users) > 15
    assert len(users["sharkbench.tables.parts"]) == len(registry.names())
    alone = {m: sorted(methods) for m, methods in users.items() if len(methods) < 2 and m not in COMPOSITION}
    assert not alone


COLLECTIONS = ast.Tuple | ast.List | ast.Set


def decisions(tree: ast.Module, names: set[str]) -> Iterator[ast.Constant]:
    """Where ``names`` decide something: what is compared with one, matched, or is a table or list of nothing else."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=comparators):
                listed = [entry for one in comparators if isinstance(one, COLLECTIONS) for entry in one.elts]
                found = list(named(names, left, *comparators, *listed))
            case ast.MatchValue(value=value):
                found = list(named(names, value))
            case ast.List(elts=entries) | ast.Tuple(elts=entries) | ast.Set(elts=entries) | ast.Dict(keys=entries):
                found = list(named(names, *entries))
                found = found if len(found) == len(entries) else []
            case _:
                continue
        yield from found


def named(names: set[str], *nodes: ast.expr | None) -> Iterator[ast.Constant]:
    yield from (node for node in nodes if isinstance(node, ast.Constant) and node.value in names)


def test_core_code_decides_nothing_by_the_name_of_a_method() -> None:
    names = set(registry.names()) - set(CODES)  # some methods are named like the number format that they store
    wrong = [
        f"{file.relative_to(ROOT)}:{text.lineno} names '{text.value}'"
        for file in core_files()
        for text in decisions(syntax_of(file), names)
    ]
    assert not wrong, "\n".join(wrong)


OWNS_METRICS = {ROOT / "sharkbench" / "results" / "earlier.py"}
"""Beside the tasks: what reads results of before metrics were data."""


def files_that_ask_the_task() -> list[Path]:
    """All but the tasks themselves, with the pages and scripts of reports."""
    folders = (ROOT / "sharkbench", ROOT / "methods")
    found = [file for folder in folders for kind in ("py", "js", "j2", "css") for file in folder.rglob(f"*.{kind}")]
    return [file for file in found if file not in OWNS_METRICS and ROOT / "sharkbench" / "tasks" not in file.parents]


def test_nothing_but_a_task_knows_a_ranking_metric() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in files_that_ask_the_task()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if "auc" in line.lower()
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_but_a_task_decides_by_the_name_of_a_metric() -> None:
    metrics = {metric.name for task in tasks.available().values() for metric in task.metrics}
    wrong = [
        f"{file.relative_to(ROOT)}:{text.lineno} names '{text.value}'"
        for file in files_that_ask_the_task()
        if file.suffix == ".py"
        for text in decisions(syntax_of(file), metrics)
    ]
    assert not wrong, "\n".join(wrong)


def test_decisions_by_name_are_found() -> None:
    code = """
a == 'qr'
b in ('hash', 'x')
names = ['full']
sizes = {'qr': 2, 'hash': 3}
stage, record = 'qr', {'full': 1, 'other': 2}
match c:
    case 'hash':
        pass
"""
    found = {text.lineno for text in decisions(ast.parse(code), {"qr", "hash", "full"})}

    assert found == {2, 3, 4, 5, 8}


@pytest.mark.parametrize(
    "code",
    [
        "import sharkbench",
        "import sharkbench.suite.load, sharkbench.suite.jsonschema, sharkbench.data.spec",
        "import sys; sys.argv = ['sharkbench', '--help']; from sharkbench.cli import main; main()",
        "from sharkbench.contract import registry; registry.names()",
    ],
)
def test_what_should_be_light_is_light(code: str) -> None:
    program = f"import atexit, sys\natexit.register(lambda: print('loaded', *sys.modules))\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.rsplit("loaded ", 1)[1].split())
    assert loaded.isdisjoint(HEAVY)


def test_methods_and_tasks_are_light_to_import() -> None:
    program = (
        "import sys\nfrom sharkbench.contract import registry\nfrom sharkbench.tasks import registry as tasks\n"
        "registry.available()\ntasks.available()\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()).isdisjoint(HEAVY)


def test_files_stay_short() -> None:
    limit = 350
    long = {
        str(file.relative_to(ROOT)): lines
        for file in [*core_files(), *method_files()]
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > limit
    }
    assert not long
