"""The code that a result depends on: all modules of the project and of the user that a module imports.

A closure maps module names to digests of their source. A digest covers what the source *does*: comments, docstrings,
layout and ``__version__`` are excluded, and a file has the same digest on every supported Python and in a wheel.
Imports in functions count, imports for types only do not; imports in a package's ``__getattr__`` count for importers of
the names that it forwards. Kernels that must be bit-identical to the plain path (:data:`SAME_BITS`) are excluded;
installed packages are recorded by their versions. Light: no examined module is imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from sharkbench.errors import InputError
from sharkbench.plugins import FORMATS, USER_PACKAGES, module_of_format

SAME_BITS = ("sharkbench.formats._kernels", "sharkbench.formats.gpu", "sharkbench.plugins")
"""Kernels that are bit-identical to the plain path, which is tested; their speed is not part of a result. Also the code
that finds plug-ins; the plug-ins themselves are included."""
_LENGTH = 16

_Found = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Digest of a module; the names that it imports, of modules and of their contents; the names that its ``__getattr__``
imports on demand."""


class Snapshot:
    """The code at the time when it is first read: no file is read twice.

    Args:
        memory: cache folder for the analysis of each source, by its bytes; a full analysis takes a second.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._seen: dict[str, _Found | None] = {}
        self._closures: dict[tuple[frozenset[str], tuple[str, ...]], dict[str, str]] = {}

    def closure(self, roots: Iterable[str], without: tuple[str, ...] = SAME_BITS) -> dict[str, str]:
        """Digests by module name, for ``roots`` and all that they import, sorted. Excluded are Python's own modules,
        installed packages except those that contain ``roots``, and modules whose names begin with one of ``without``.

        Raises:
            InputError: a root has no source file, such as a module of a notebook.
        """
        asked = frozenset(roots), without
        if asked not in self._closures:
            if missing := sorted(root for root in asked[0] if self._found(root) is None):
                raise InputError(
                    f"there is no source file of '{missing[0]}', and results are named by the code that makes them; "
                    "put it into a file of its own"
                )
            found: dict[str, str] = {}
            for name, digest in sorted((_label(name), digest) for name, digest in self._walk(*asked)):
                # Two plug-in folders of a user may have files of the same name.
                found[name] = _hash(f"{found[name]} {digest}".encode()) if name in found else digest
            self._closures[asked] = found
        return self._closures[asked]

    def digest(self, roots: Iterable[str], without: tuple[str, ...] = SAME_BITS) -> str:
        """:func:`digest_of` their closure."""
        return digest_of(self.closure(roots, without))

    def _walk(self, roots: frozenset[str], without: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        tops = {root.partition(".")[0] for root in roots}
        waiting, known = list(roots), set[str]()
        while waiting:
            name = waiting.pop()
            if name in known or name.startswith(without) or not _is_own(name.partition(".")[0], frozenset(tops)):
                continue
            known.add(name)
            package, _, last = name.rpartition(".")
            if package == FORMATS.package and self._found(name) is None and (elsewhere := module_of_format(last)):
                waiting.append(elsewhere)
            if (found := self._found(name)) is not None:
                yield name, found[0]
                waiting += found[1]
            elif package and (holder := self._found(package)) is not None:
                waiting += holder[2]  # it is not a module, so it is a name that the package defines or forwards
            if package:  # importing a module imports its packages
                waiting.append(package)

    def _found(self, name: str) -> _Found | None:
        if name not in self._seen:
            self._seen[name] = self._look_at(name)
        return self._seen[name]

    def _look_at(self, name: str) -> _Found | None:
        file = source_of(name)
        if file is None:
            return None
        content, package = file.read_bytes(), name if file.name == "__init__.py" else name.rpartition(".")[0]
        if file.suffix != ".py":
            return _hash(content), (), ()
        if self._memory is None:
            return _parsed(content, package)
        remembered = self._memory / f"{_hash(b' '.join([_this_file(), package.encode(), content]), 32)}.json"
        try:
            digest, imported, forwarded = json.loads(remembered.read_text())
            return str(digest), tuple(map(str, imported)), tuple(map(str, forwarded))
        except (OSError, ValueError, TypeError):
            found = _parsed(content, package)
        with suppress(OSError):  # an unwritable cache only costs time
            remembered.parent.mkdir(parents=True, exist_ok=True)
            scratch = remembered.with_name(f".{remembered.name}.{os.getpid()}")
            scratch.write_text(json.dumps(found))
            scratch.replace(remembered)
        return found


def closure(roots: Iterable[str]) -> dict[str, str]:
    """:meth:`Snapshot.closure` of the present code."""
    return Snapshot().closure(roots)


def digest_of(modules: Mapping[str, str]) -> str:
    """One digest of a closure: 16 hexadecimal digits."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(modules.items()))
    return _hash(text.encode())


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Modules that differ, are new or were removed, sorted."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def source_of(name: str) -> Path | None:
    """The file of a module, found without importing it; ``None`` if there is none."""
    top, *rest = name.split(".")
    origin, folders = _top(top)
    for depth, part in enumerate(rest):
        inside = _methods() if (top, part, depth) == ("sharkbench", "methods", 0) else [f / part for f in folders]
        files = [file for f in inside for file in (f / "__init__.py", f.with_name(f"{f.name}.py")) if file.is_file()]
        origin, folders = (files[0] if files else None), [f for f in inside if f.is_dir()]
        if origin is None and not folders:
            return None
    return origin


def normalised(source: str | bytes) -> str:
    """A normal form of ``source``: a text of what it does that is the same on every supported Python.

    Raises:
        SyntaxError: ``source`` is not valid Python.
    """
    parts: list[str] = []
    _write(ast.parse(source), parts)
    return "".join(parts)


# Inside --------------------------------------------------------------------------------------------------------------


def _label(name: str) -> str:
    """A module's name without the part that identifies the folder of a user's plug-in."""
    top, dot, rest = name.partition(".")
    return f"user{dot}{rest}" if top.startswith(USER_PACKAGES) else name


@cache
def _top(name: str) -> tuple[Path | None, list[Path]]:
    """File and folders of a top-level module."""
    if name == "sharkbench":
        here = Path(__file__).parents[1]
        return here / "__init__.py", [here]
    loaded = sys.modules.get(name)
    try:
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    places = [Path(p) for p in (getattr(loaded, "__path__", None) or (spec and spec.submodule_search_locations) or [])]
    has_file = spec is not None and spec.has_location and spec.origin
    return (Path(spec.origin) if has_file and spec is not None and spec.origin else None), places


@cache
def _methods() -> list[Path]:
    """Folders of the methods that come with the project; in a checkout they lie beside the package."""
    spec = importlib.util.find_spec("sharkbench.methods")
    return [Path(p) for p in (spec.submodule_search_locations or [])] if spec is not None else []


@cache
def _shared_places() -> tuple[Path, ...]:
    """Folders of Python and of installed packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [sysconfig.get_path(name) for name in names]
    return tuple({Path(p).resolve() for p in [*places, *site.getsitepackages(), site.getusersitepackages()] if p})


@cache
def _is_own(top: str, tops: frozenset[str]) -> bool:
    """Whether modules below ``top`` belong to the project or to a user."""
    if top == "sharkbench" or top in tops:
        return True
    origin, folders = _top(top)
    places = [path.resolve() for path in ([origin] if origin else folders)]
    return bool(places) and not any(_is_installed(path) for path in places)


def _is_installed(path: Path) -> bool:
    """Whether the path belongs to Python or to installed packages, of this environment or of one that it extends."""
    borrowed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(borrowed) or any(path.is_relative_to(place) for place in _shared_places())


@cache
def _this_file() -> bytes:
    """Source of this module, part of the cache key: another version may analyse differently."""
    return Path(__file__).read_bytes()


@lru_cache(maxsize=4096)
def _parsed(content: bytes, package: str) -> _Found:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # importing it gives a better message
        return _hash(content), (), ()
    parts: list[str] = []
    _write(tree, parts)
    forwarding: list[ast.stmt] = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
    ]
    rest = ast.Module([node for node in tree.body if node not in forwarding], [])
    imported, forwarded = (tuple(dict.fromkeys(_imports(code, package))) for code in (rest, ast.Module(forwarding, [])))
    return _hash("".join(parts).encode()), imported, forwarded


def _hash(content: bytes, digits: int = _LENGTH) -> str:
    return hashlib.sha256(content).hexdigest()[:digits]


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for other in child.orelse:
                    yield from _imports(ast.Module([other], []), package)
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package.rsplit(".", level - 1)[0] if level else ""
                source = ".".join(part for part in (base, module) if part)
                yield source
                yield from (f"{source}.{alias.name}" for alias in names if alias.name != "*")
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=[first, *_]):
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value[:1] != ".":
                    yield first.value
                yield from _imports(child, package)
            case ast.Call(func=ast.Name(id="format_of_kind"), args=[ast.Constant(value=str(kind))]):
                yield f"{FORMATS.package}.{kind}"
            case _:
                yield from _imports(child, package)


_BODIES = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _write(node: object, parts: list[str]) -> None:
    """Append the content of ``node``. Empty fields, which some Python versions lack, are omitted."""
    if isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        parts.append("(")
        for field in node._fields:
            value: Any = getattr(node, field, None)
            if value is None and not isinstance(node, ast.Constant):
                continue
            if field in ("ctx", "kind", "type_comment") or value == []:
                continue
            if field == "body" and isinstance(node, _BODIES):
                value = [line for line in value if not _is_silent(line)]
            if field == "values" and isinstance(node, ast.JoinedStr):
                value = _joined(value)
            parts.append(field)
            parts.append("=")
            _write(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for one in node:
            _write(one, parts)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(repr(node))


def _is_silent(line: ast.stmt) -> bool:
    """Whether a statement cannot affect results: a docstring (also that of a setting) or the package's version."""
    match line:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id="__version__")]):
            return True
    return False


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The pieces of an f-string, with consecutive texts joined."""
    joined: list[ast.expr] = []
    for value in values:
        last = joined[-1] if joined else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            joined.append(value)
    return joined
