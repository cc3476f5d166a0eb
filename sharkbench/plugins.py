"""Finds plug-ins: methods, packed formats, backbones, tasks and data sources.

A plug-in is a file, or a folder with an ``__init__.py``, that has the name of what it adds and defines one class. It is
in a package of the project, in a folder named by an environment variable, or in another package that declares it as an
entry point. Only requested plug-ins are imported.
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
"""Prefix of the package names of a user's plug-ins; the rest of the name identifies the folder."""

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """The location of a plug-in that is not imported yet."""

    name: str
    origin: str
    """File, folder or entry point, as error messages name it."""
    module: str
    attribute: str = ""
    """The class within the module, if an entry point names it."""
    file: Path | None = None
    """File of a plug-in in a folder: the module, or the package's ``__init__.py``."""
    provider: str = ""
    """Its origin, as messages on other machines name it; ``""`` for the project's own plug-ins."""


@dataclass(frozen=True)
class Place:
    """The locations of plug-ins of one kind.

    Attributes:
        noun: name of the kind, for messages.
        package: package of the project whose files and folders are plug-ins.
        variable: environment variable that names further folders.
        group: group of entry points.
        holds: whether a file of the project's package is a plug-in; by default every file is.
    """

    noun: str
    package: str
    variable: str
    group: str
    holds: Callable[[str, Path], bool] = lambda name, file: True

    def found(self) -> Iterator[Found]:
        """All plug-ins, including several with the same name.

        Raises:
            InputError: the variable names something that is not a folder.
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
        """The folders named by the variable.

        Raises:
            InputError: a folder does not exist.
        """
        folders = [Path(p) for p in os.environ.get(self.variable, "").split(os.pathsep) if p]
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{self.variable} names '{folder}', which is not a folder")
        return folders


def _says_its_kind(name: str, file: Path) -> bool:
    """Whether a file defines a format, among shared code or beside methods: its class has ``kind = "<name>"``."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return any(f'\n    kind{said} = "{name}"\n' in text for said in ("", ": ClassVar[str]"))


METHODS = Place("method", "sharkbench.methods", "SHARKBENCH_METHODS", "sharkbench.methods")
FORMATS = Place("format", "sharkbench.formats", "SHARKBENCH_FORMATS", "sharkbench.formats", _says_its_kind)
BACKBONES = Place("backbone", "sharkbench.backbones.ctr", "SHARKBENCH_BACKBONES", "sharkbench.backbones")
TASKS = Place(
    "task", "sharkbench.tasks", "SHARKBENCH_TASKS", "sharkbench.tasks", lambda name, _: name not in ("base", "registry")
)
SOURCES = Place("source", "sharkbench.data.sources", "SHARKBENCH_SOURCES", "sharkbench.sources")


FOLDERS = tuple(place.variable for place in (METHODS, FORMATS, BACKBONES, TASKS, SOURCES))


def formats_of_methods() -> Iterator[Found]:
    """Formats in the folder of a method, in a file with the name of their kind."""
    for method in METHODS.found():
        if method.file is not None and method.file.name == "__init__.py":
            for name, file in files_in(method.file.parent):
                if _says_its_kind(name, file):
                    provider = f"the method '{method.name}' ({METHODS.variable})"
                    yield Found(name, str(file), f"{method.module}.{name}", file=file, provider=provider)


def module_of_format(kind: str) -> str | None:
    """The module of a format, without importing it; ``None`` if there is none."""
    return next((one.module for one in (*FORMATS.found(), *formats_of_methods()) if one.name == kind), None)


class Plugins(Generic[T]):
    """The plug-ins of one kind, by name.

    Args:
        place: their locations.
        base: returns the base class of plug-ins; called when the first is imported.
        name_of: the name that a class declares; ``None`` for a shared base class.
        besides: further plug-ins.
    """

    def __init__(
        self,
        place: Place,
        base: Callable[[], type[T]],
        name_of: Callable[[type[T]], str | None],
        besides: Callable[[], Iterator[Found]] = lambda: iter(()),
    ) -> None:
        self.place, self._base, self._name_of, self._besides = place, base, name_of, besides
        self._imported: dict[tuple[str, ...], tuple[Path | None, type[T]]] = {}

    def found(self) -> dict[str, Found]:
        """All plug-ins by name, without importing any.

        Raises:
            InputError: two have the same name.
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
        """All names, sorted, without importing any plug-in."""
        return sorted(self.found())

    def get(self, name: str) -> type[T]:
        """The class of the plug-in with the name ``name``.

        Raises:
            InputError: there is no such plug-in, it cannot be imported, or it is of another kind.
        """
        if (ready := self._ready(name)) is not None:
            return ready
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
        self._imported[self._key(name)] = found[name].file, made
        return made

    def _ready(self, name: str) -> type[T] | None:
        """The class, if it is imported and its file is still there: a suite may name it a thousand times."""
        file, made = self._imported.get(self._key(name), (None, None))
        if made is None or (file is not None and not file.is_file()):
            return None
        # A module that has been imported anew has another class.
        return made if getattr(sys.modules.get(made.__module__), made.__name__, None) is made else None

    def _key(self, name: str) -> tuple[str, ...]:
        return name, *(os.environ.get(variable, "") for variable in FOLDERS)

    def available(self) -> dict[str, type[T]]:
        """All importable plug-ins by name; others cause a warning and are left out."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except InputError as error:
                warnings.warn(str(error), stacklevel=3)
        return found

    def named(self, entry: Any, key: str) -> type[T]:
        """The class that a mapping names under ``key``; errors are like those of pydantic's tagged unions.

        Raises:
            PydanticCustomError: the mapping names no known plug-in.
            ValueError: the plug-in cannot be imported.
        """
        from pydantic_core import PydanticCustomError

        told = {"discriminator": f"'{key}'"}
        name = entry.get(key) if isinstance(entry, Mapping) else None
        if name is None:
            raise PydanticCustomError("union_tag_not_found", f"a {self.place.noun} is a mapping with '{key}'", told)
        if isinstance(name, str) and (ready := self._ready(name)) is not None:
            return ready
        known = self.names()
        if not isinstance(name, str) or name not in known:
            told |= {"tag": str(name), "expected_tags": ", ".join(f"'{one}'" for one in known)}
            hint = did_you_mean(str(name), known)
            raise PydanticCustomError("union_tag_invalid", f"unknown {self.place.noun} '{{tag}}'{hint}", told)
        try:
            return self.get(name)
        except InputError as error:
            raise ValueError(str(error)) from error

    def _import(self, found: Found) -> type[T]:
        importlib.invalidate_caches()  # a file may be newer than Python's cached listing of its folder
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
    """Name and file of each module and package in a folder, sorted, without those with a leading underscore."""
    for path in sorted(folder.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.is_file() and path.stem.isidentifier() and not path.stem.startswith("_"):
            yield path.stem, file


def _classes_of(module: ModuleType) -> list[type[Any]]:
    return [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]


@cache
def _entry_points(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """Entry points of a group. Cached: a search through all packages takes 40 ms, and every stored run needs it."""
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
