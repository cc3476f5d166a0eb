"""What a user installs and what the lock pins hold together."""

from __future__ import annotations

import ast
import importlib.metadata
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


@pytest.mark.parametrize("wanted", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_the_lock_pins_what_the_project_needs_within_its_ranges(wanted: str) -> None:
    requirement = Requirement(wanted)

    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_lock_pins_plain_versions() -> None:
    assert PINS["torch"] == "2.13.0", "a range or a local version pulls other builds, or none"
    assert all(Version(version).local is None for version in PINS.values())


def test_the_lock_is_closed() -> None:
    """Everything that a pinned package needs here is pinned as well."""
    unpinned = {
        f"{name} needs {requirement.name}"
        for name in PINS
        for text in requires(name)
        if (requirement := Requirement(text)).marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) not in PINS
    }
    assert not unpinned


def requires(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []  # pinned for other machines


def test_every_folder_of_code_is_a_package() -> None:
    folders = {file.parent for top in ("sharkbench", "methods", "suites") for file in (ROOT / top).rglob("*.py")}

    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]


def test_every_package_is_installed_and_from_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of methods too."""
    said: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: said.update(keywords))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")

    def place(package: str) -> Path:
        parent, _, name = package.rpartition(".")
        if package in said["package_dir"]:
            return ROOT / said["package_dir"][package]
        return place(parent) / name if parent else ROOT / name

    stated = {package: place(package) for package in said["packages"]}
    folders = {file.parent for top in ("sharkbench", "methods", "suites") for file in (ROOT / top).rglob("__init__.py")}
    assert set(stated.values()) == folders
    assert stated["sharkbench.methods.alpt"] == ROOT / "methods" / "alpt"


def test_everything_that_is_imported_is_a_stated_dependency() -> None:
    """Not something that another package happens to bring along."""
    providers = importlib.metadata.packages_distributions()
    extras = [text for name, texts in PROJECT["optional-dependencies"].items() if name != "dev" for text in texts]
    stated = {canonicalize_name(Requirement(text).name) for text in [*PROJECT["dependencies"], *extras]}
    imported = {
        module.split(".")[0]
        for top in ("sharkbench", "methods")
        for file in (ROOT / top).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for module in imported_by(node)
    }
    foreign = imported - {"sharkbench"} - sys.stdlib_module_names

    # What is not installed here is asked for by its own name.
    assert not {m for m in foreign if not {canonicalize_name(p) for p in providers.get(m, [m])} & stated}


def imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def test_versions_agree() -> None:
    import sharkbench

    assert PROJECT["version"] == sharkbench.__version__
