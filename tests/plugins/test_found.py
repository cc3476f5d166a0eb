"""Plug-ins of every kind are found in folders and packages, and what is wrong with one is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharkbench import plugins
from sharkbench.backbones import BACKBONES
from sharkbench.contract import registry
from sharkbench.data.spec import SOURCES
from sharkbench.errors import ArtifactError, InputError
from sharkbench.formats.registry import FORMATS, format_of_kind
from sharkbench.plugins import Plugins
from tests.plugins import made_up

KNOWN: dict[str, Plugins] = {  # type: ignore[type-arg]
    "methods": registry.METHODS,
    "formats": FORMATS,
    "backbones": BACKBONES,
    "sources": SOURCES,
}
MADE_UP = {"methods": "neighbours", "formats": "grouped", "backbones": "summed", "sources": "jsonl"}


@pytest.mark.parametrize("kind", KNOWN)
def test_the_projects_own_are_there_and_keep_their_names(kind: str) -> None:
    names = KNOWN[kind].names()
    assert len(names) >= 8
    assert KNOWN[kind].available().keys() == set(names)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_folder_is_found(kind: str, folder: Path) -> None:
    assert MADE_UP[kind] in KNOWN[kind].names()
    assert KNOWN[kind].get(MADE_UP[kind]).__module__.startswith(plugins.USER_PACKAGES)


@pytest.mark.parametrize("kind", KNOWN)
def test_one_that_is_not_there_gets_a_suggestion(kind: str, folder: Path) -> None:
    name = MADE_UP[kind]
    with pytest.raises(InputError, match=f"unknown {kind[:-1]} '{name}x'; did you mean '{name}'"):
        KNOWN[kind].get(f"{name}x")


@pytest.mark.parametrize("kind", ["methods", "backbones", "sources"])
def test_one_that_is_broken_is_left_out_and_named_when_asked_for(kind: str, folder: Path) -> None:
    (folder / kind / "broken.py").write_text("import no_such_package")
    with pytest.warns(UserWarning, match="'broken' cannot be imported.*no_such_package"):
        assert "broken" not in KNOWN[kind].available()
    with pytest.raises(InputError, match="'broken' cannot be imported"):
        KNOWN[kind].get("broken")


@pytest.mark.parametrize("kind", KNOWN)
def test_two_of_one_name_are_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = KNOWN[kind].names()[0]
    (tmp_path / f"{name}.py").write_text(f'class Mine:\n    kind = "{name}"\n')
    monkeypatch.setenv(KNOWN[kind].place.variable, str(tmp_path))
    with pytest.raises(InputError, match=f"two {kind} are called '{name}'"):
        KNOWN[kind].names()


@pytest.mark.parametrize("kind", KNOWN)
def test_a_folder_that_is_not_there_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = KNOWN[kind].place.variable
    monkeypatch.setenv(variable, "/no/such/folder")
    with pytest.raises(InputError, match=f"{variable} names '/no/such/folder'"):
        KNOWN[kind].names()


@pytest.mark.parametrize("kind", ["backbones", "sources"])
def test_a_file_that_holds_something_else_is_told_so(kind: str, folder: Path) -> None:
    (folder / kind / "empty.py").write_text("x = 1")
    with pytest.raises(InputError, match="must define exactly one"):
        KNOWN[kind].get("empty")


def test_looking_for_formats_imports_no_torch_and_no_plug_in(folder: Path) -> None:
    (folder / "methods" / "loud.py").write_text("raise RuntimeError('imported')")
    code = (
        "import sys; from sharkbench import plugins; assert plugins.module_of_format('grouped'); "
        "from sharkbench.backbones import BACKBONES; BACKBONES.names(); from sharkbench.data.spec import SOURCES; "
        "SOURCES.get('jsonl'); BACKBONES.get('summed'); print([m for m in ('torch', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_format_needs_is_not_taken_for_one() -> None:
    assert "layer" not in FORMATS.names()
    with pytest.raises(ArtifactError, match="unknown format 'layer'"):
        format_of_kind("layer")


def test_other_packages_are_found_by_their_entry_points(tmp_path: Path) -> None:
    made_up.write(tmp_path)
    package = tmp_path / "site" / "acme"
    package.parent.mkdir()
    (tmp_path / "backbones").rename(package)
    (package / "__init__.py").write_text("")
    for kind, name in (("sources", "jsonl"), ("methods", "neighbours")):
        (tmp_path / kind / name).rename(package / name)
    metadata = package.parent / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[sharkbench.formats]\ngrouped = acme.neighbours.grouped:Grouped\n"
        "[sharkbench.backbones]\nsummed = acme.summed:Summed\n[sharkbench.sources]\njsonl = acme.jsonl:JsonLines\n"
        "[sharkbench.methods]\nneighbours = acme.neighbours:Neighbours\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    code = (
        "from sharkbench.backbones import BACKBONES; from sharkbench.contract.registry import METHODS; "
        "from sharkbench.data.spec import SOURCES; from sharkbench.formats.registry import FORMATS; "
        "print(*[k.get(n).__module__ for k, n in zip((FORMATS, BACKBONES, SOURCES, METHODS), "
        "('grouped', 'summed', 'jsonl', 'neighbours'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    modules = ["acme.neighbours.grouped", "acme.summed", "acme.jsonl", "acme.neighbours"]
    assert done.stdout.split() == modules, done.stderr
