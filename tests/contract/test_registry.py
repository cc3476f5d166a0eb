"""The registry finds methods in the package and in folders, and says clearly what it does not find."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sharkbench import plugins
from sharkbench.contract import registry
from sharkbench.contract.method import Takes
from sharkbench.contract.pipeline import Pipeline
from sharkbench.errors import InputError
from sharkbench.keys.closure import changes, closure

SOURCE = '''
from typing import ClassVar, Literal
from sharkbench.contract.method import Family, Method

class Mine(Method):
    """Mine."""
    name: Literal["{name}"] = "{name}"
    title: ClassVar[str] = "mine"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 2026
    family: ClassVar[Family] = "none"
    strength: int = 3

    @property
    def takes(self):
        return "{takes}"

    def compress(self, bench):
        return None
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    return tmp_path


def add(folder: Path, name: str, *, declared: str | None = None, takes: Takes = "fields") -> Path:
    file = folder / f"{name}.py"
    file.write_text(SOURCE.format(name=declared or name, takes=takes))
    return file


def test_finds_a_file_in_a_folder(folder: Path) -> None:
    add(folder, "mine")
    assert "mine" in registry.names()
    assert registry.parse({"name": "mine", "strength": 5}).model_dump() == {"name": "mine", "strength": 5}


def test_listing_imports_nothing(folder: Path) -> None:
    (folder / "loud.py").write_text("raise RuntimeError('imported')")
    assert "loud" in registry.names()


def test_a_broken_method_is_skipped_and_named_when_asked_for(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_package")
    with pytest.warns(UserWarning, match="'broken' cannot be imported.*no_such_package"):
        assert "broken" not in registry.available()
    with pytest.raises(InputError, match="'broken' cannot be imported"):
        registry.get("broken")


def test_unknown_name_gets_a_suggestion(folder: Path) -> None:
    add(folder, "permuted")
    with pytest.raises(InputError, match=r"unknown method 'permuttd'; did you mean 'permuted'\?"):
        registry.get("permuttd")


def test_a_second_method_of_the_same_name_is_refused(folder: Path) -> None:
    add(folder, registry.names()[0])
    with pytest.raises(InputError, match="two methods are called"):
        registry.names()


def test_file_and_declared_name_must_agree(folder: Path) -> None:
    add(folder, "mine", declared="yours")
    with pytest.raises(InputError, match="declares the name 'yours'"):
        registry.get("mine")


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.FOLDERS, "/no/such/folder")
    with pytest.raises(InputError, match="/no/such/folder"):
        registry.names()


def test_pipeline_parses_nested_and_survives_json(folder: Path) -> None:
    add(folder, "first")
    add(folder, "second", takes="model")
    said = {"pipeline": [{"name": "first", "strength": 1, "budget": 0.5}, "second"]}
    pipeline = registry.parse(said)
    assert isinstance(pipeline, Pipeline)
    assert [stage.method.name for stage in pipeline.pipeline] == ["first", "second"]
    assert registry.parse(pipeline.model_dump(mode="json")) == pipeline
    assert {module.rpartition(".")[2] for module in registry.modules_of(pipeline)} == {"pipeline", "first", "second"}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["first", "second"], "stage 'first' needs a 'budget' of its own"),
        ([{"name": "full", "budget": 0.5}, "second"], "stage 'full' takes no budget"),
        ([{"name": "first", "budget": 0.5}, {"name": "second", "budget": 0.1}], "gets the suite's budget"),
        (
            [{"name": "first", "budget": 0.5}, "first"],
            "so the work of 'first'.* would be thrown away",
        ),
    ],
)
def test_pipelines_that_cannot_work_are_refused(folder: Path, stages: list[object], message: str) -> None:
    add(folder, "first")
    add(folder, "second", takes="model")
    with pytest.raises(ValueError, match=message):
        registry.parse({"pipeline": stages})


@pytest.mark.parametrize(
    "entry", [3, None, ["qr"], {}, {"name": 3}, {"pipeline": []}, {"pipeline": "qr"}, {"pipeline": ["full"], "as": "x"}]
)
def test_entries_of_another_shape_are_refused(entry: object) -> None:
    with pytest.raises(InputError):
        registry.parse(entry)


def test_the_modules_of_a_method_are_those_of_the_methods_among_its_settings_too() -> None:
    assert registry.modules_of(registry.parse("qr")) == {"sharkbench.methods.qr"}
    shark = registry.modules_of(registry.parse("shark"))
    assert {f"sharkbench.methods.{name}" for name in ("shark", "f_permutation", "f_quantization")} <= shark


def test_a_helper_beside_a_method_is_its_own(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders may have helpers of one name."""
    other = tmp_path_factory.mktemp("other")
    for place, name in ((folder, "mine"), (other, "yours")):
        file = place / f"{name}.py"
        file.write_text("from ._parts import STRENGTH\n" + SOURCE.format(name=name, takes="fields"))
        (place / "_parts.py").write_text(f"STRENGTH = '{name}'\n")
    monkeypatch.setenv(registry.FOLDERS, f"{folder}{os.pathsep}{other}")

    found = [sys.modules[registry.get(name).__module__] for name in ("mine", "yours")]
    assert [module.STRENGTH for module in found] == ["mine", "yours"]
    assert "_parts" not in registry.names()


PACKAGE = {
    "__init__.py": "from .numbers import STRENGTH\n"
    + SOURCE.format(name="packed", takes="fields").replace("strength: int = 3", "strength: int = STRENGTH")
    + "        from .layers.rows import rows\n",
    "numbers.py": "STRENGTH = 7\n",
    "layers/__init__.py": "",
    "layers/rows.py": "from ..numbers import STRENGTH\nrows = STRENGTH\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_method_may_be_a_folder(folder: Path) -> None:
    write(folder / "packed", PACKAGE)
    (folder / "no_method").mkdir()
    (folder / "no_method" / "notes.py").write_text("raise RuntimeError")
    add(folder, "plain")
    assert {"packed", "plain"} <= set(registry.names())
    assert not {"no_method", "numbers", "layers"} & set(registry.names())

    method = registry.parse("packed")
    assert method.model_dump() == {"name": "packed", "strength": 7}
    found = closure(registry.modules_of(method))
    own = {"user.packed", "user.packed.numbers", "user.packed.layers", "user.packed.layers.rows"}
    assert own <= found.keys()
    assert "user.plain" not in found
    (folder / "packed" / "layers" / "rows.py").write_text("rows = 8\n")
    assert changes(found, closure(registry.modules_of(method))) == ["user.packed.layers.rows"]


def test_a_file_and_a_folder_of_one_name_are_two_methods(folder: Path) -> None:
    write(folder / "packed", PACKAGE)
    add(folder, "packed")
    with pytest.raises(InputError, match="two methods are called 'packed'"):
        registry.names()


def test_a_method_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "their_methods_of_ours" / "packed", PACKAGE)
    (tmp_path / "their_methods_of_ours" / "__init__.py").touch()
    installed = tmp_path / "theirs-1.0.dist-info"
    write(
        installed,
        {
            "METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
            "entry_points.txt": f"[{plugins.METHODS.group}]\npacked = their_methods_of_ours.packed:Mine\n",
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._entry_points.cache_clear()
    try:
        method = registry.parse({"name": "packed", "strength": 2})
        found = closure(registry.modules_of(method))
    finally:
        monkeypatch.undo()
        plugins._entry_points.cache_clear()
    own = {"packed", "packed.numbers", "packed.layers", "packed.layers.rows"}
    assert {f"their_methods_of_ours.{name}" for name in own} <= found.keys()
