"""Finds plug-ins: methods, packed formats, backbones, tasks and sources of data.

A plug-in is a file, or a folder with an ``__init__.py``, that is named like what it adds and defines one class of it.
It lies in a package of the project, in a folder that an environment variable names, or in another package that names it
as an entry point. Nothing is imported but what is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from sharkbench.errors import InputError, did_you_mean

USER_PACKAGES = "sharkbench_user"
"""What the names of packages that hold a user's plug-ins begin with; the rest says in which folder they lie."""

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """Where a plug-in is; it is not imported yet."""

    name: str
    origin: str
    """A file, a folder or an entry point, as messages name it."""
    module: str
    attribute: str = ""
    """The class within the module, where an entry point names it."""
    file: Path | None = None
    """Of a plug-in in a folder: its file, or the folder's ``__init__.py``."""
    provider: str = ""
    """What it came with, as somebody on another machine is told; ``""`` where it is the project's own."""


@dataclass(frozen=True)
class Place:
    """Where plug-ins of one kind are looked for.

    Attributes:
        noun: what one is called.
        package: of the project, whose files and folders they are.
        variable: environment variable that names further folders.
        group: of entry points.
        holds: whether a file of the project's package is one; every file is unless given.
    """

    noun: str
    package: str
    variable: str
    group: str
    holds: Callable[[str, Path], bool] = lambda name, file: True

    def found(self) -> Iterator[Found]:
        """All of them, and those of one name more than once.

        Raises:
            InputError: the variable names what is no folder.
        """
        own = _folder_of(self.package)
        for name, file in files_in(own):
            if self.holds(name, file):
                yield Found(name, str(file), f"{self.package}.{name}", file=file)
        for folder in self.folders():
            for name, file in files_in(folder):
                module = f"{_package_of(folder)}.{name}"
                yield Found(name, str(file), module, file=file, provider=f"a folder of {self.variable}")
        for point in _entry_points(self.group):
            package = point.module.partition(".")[0]
            yield Found(
                point.name, f"entry point {point.value}", point.module, point.attr, provider=f"the package '{package}'"
            )

    def folders(self) -> list[Path]:
        """Those that the variable names.

        Raises:
            InputError: one is not there.
        """
        folders = [Path(p) for p in os.environ.get(self.variable, "").split(os.pathsep) if p]
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{self.variable} names '{folder}', which is not a folder")
        return folders


def _says_its_kind(name: str, file: Path) -> bool:
    """Formats lie among what they share, and beside methods; the class of a format says ``kind = "<name>"``."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return any(f'\n    kind{said} = "{name}"\n' in text for said in ("", ": ClassVar[str]"))


METHODS = Place("method", "sharkbench.methods", "SHARKBENCH_METHODS", "sharkbench.methods")
FORMATS = Place("format", "sharkbench.formats", "SHARKBENCH_FORMATS", "sharkbench.formats", _says_its_kind)
BACKBONES = Place("backbone", "sharkbench.backbones.ctr", "SHARKBENCH_BACKBONES", "sharkbench.backbones")
TASKS = Place(
    "task", "sharkbench.tasks", "SHARKBENCH_TASKS", "sharkbench.tasks", lambda name, _: name not in ("base", "registry")
)
SOURCES = Place("source", "sharkbench.data.sources", "SHARKBENCH_SOURCES", "sharkbench.sources")


def formats_of_methods() -> Iterator[Found]:
    """Formats that lie in the folder of a method, in a file named like their kind."""
    for method in METHODS.found():
        if method.file is not None and method.file.name == "__init__.py":
            for name, file in files_in(method.file.parent):
                if _says_its_kind(name, file):
                    provider = f"the method '{method.name}' ({METHODS.variable})"
                    yield Found(name, str(file), f"{method.module}.{name}", file=file, provider=provider)


def module_of_format(kind: str) -> str | None:
    """The module of a format, which is not imported; ``None`` where there is none."""
    return next((one.module for one in (*FORMATS.found(), *formats_of_methods()) if one.name == kind), None)


class Plugins(Generic[T]):
    """The plug-ins of one kind, by name.

    Args:
        place: where they are looked for.
        base: what a plug-in's class derives from; asked when the first is imported.
        name_of: the name that a class declares; ``None`` where it is none, but a base of several.
        besides: further ones.
    """

    def __init__(
        self,
        place: Place,
        base: Callable[[], type[T]],
        name_of: Callable[[type[T]], str | None],
        besides: Callable[[], Iterator[Found]] = lambda: iter(()),
    ) -> None:
        self.place, self._base, self._name_of, self._besides = place, base, name_of, besides

    def found(self) -> dict[str, Found]:
        """All of them, by name; none is imported.

        Raises:
            InputError: two have one name.
        """
        found: dict[str, Found] = {}
        for one in (*self.place.found(), *self._besides()):
            if one.name in found:
                raise InputError(
                    f"two {self.place.noun}s are called '{one.name}' (the second: {one.origin}); rename one"
                )
            found[one.name] = one
        return found

    def names(self) -> list[str]:
        """All names, sorted; none is imported."""
        return sorted(self.found())

    def get(self, name: str) -> type[T]:
        """The class of the plug-in called ``name``.

        Raises:
            InputError: there is none, it cannot be imported, or it is something else.
        """
        found, noun = self.found(), self.place.noun
        if name not in found:
            raise InputError(f"unknown {noun} '{name}'{did_you_mean(name, found)}")
        try:
            made = self._import(found[name])
        except Exception as error:
            raise InputError(f"{noun} '{name}' cannot be imported: {type(error).__name__}: {error}") from error
        declared = self._name_of(made)
        if declared != name:
            raise InputError(f"{noun} file '{name}' declares the name '{declared}': they must be the same")
        return made

    def available(self) -> dict[str, type[T]]:
        """All that can be imported, by name; one that cannot is warned of and left out."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except InputError as error:
                warnings.warn(str(error), stacklevel=3)
        return found

    def named(self, entry: Any, key: str) -> type[T]:
        """The class that a mapping names under ``key``; mistakes are those of pydantic's tagged unions.

        Raises:
            PydanticCustomError: it names none.
            ValueError: it cannot be imported.
        """
        from pydantic_core import PydanticCustomError

        told = {"discriminator": f"'{key}'"}
        name = entry.get(key) if isinstance(entry, Mapping) else None
        if name is None:
            raise PydanticCustomError("union_tag_not_found", f"a {self.place.noun} is a mapping with '{key}'", told)
        if not isinstance(name, str) or name not in (known := self.names()):
            told |= {"tag": str(name), "expected_tags": ", ".join(f"'{one}'" for one in known)}
            hint = did_you_mean(str(name), known)
            raise PydanticCustomError("union_tag_invalid", f"unknown {self.place.noun} '{{tag}}'{hint}", told)
        try:
            return self.get(name)
        except InputError as error:
            raise ValueError(str(error)) from error

    def _import(self, found: Found) -> type[T]:
        importlib.invalidate_caches()  # a file may be younger than what Python remembers of its folder
        module, base = importlib.import_module(found.module), self._base()
        if found.attribute:
            made = getattr(module, found.attribute)
            if not (isinstance(made, type) and issubclass(made, base)):
                raise TypeError(f"{found.origin} is no {base.__name__}")
            return made
        defined = [one for one in _classes_of(module) if issubclass(one, base) and self._name_of(one) is not None]
        if len(defined) != 1:
            raise TypeError(f"{module.__file__} must define exactly one {base.__name__}, it defines {len(defined)}")
        return defined[0]


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of each module and package in a folder, sorted; those of a leading underscore are of no concern."""
    for path in sorted(folder.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.is_file() and path.stem.isidentifier() and not path.stem.startswith("_"):
            yield path.stem, file


def _classes_of(module: ModuleType) -> list[type[Any]]:
    return [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]


@cache
def _entry_points(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """Cached: looking through all that is installed takes some 40 ms, and every stored run asks."""
    return tuple(importlib.metadata.entry_points(group=group))


@cache
def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _package_of(folder: Path) -> str:
    """A package for a folder of a user's plug-ins, so that they may import helpers beside them: ``from ._parts import
    rows``. It is named by the folder's path, as two folders may have files of one name."""
    name = f"{USER_PACKAGES}_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name
