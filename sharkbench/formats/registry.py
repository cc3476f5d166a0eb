"""Packed formats by kind: those of the project, in the folders of ``$SHARKBENCH_FORMATS``, in the folders of methods,
and in other packages. A new format is a new file, named like its kind."""

from __future__ import annotations

from collections.abc import Iterable

from sharkbench import plugins
from sharkbench.errors import ArtifactError, InputError
from sharkbench.formats.base import Format
from sharkbench.plugins import Plugins, formats_of_methods


class UnknownFormat(ArtifactError):
    """A table is in a format that is not installed."""


FORMATS = Plugins(
    plugins.FORMATS,
    lambda: Format,
    lambda kind: vars(kind).get("kind"),
    formats_of_methods,
)


def formats() -> dict[str, type[Format]]:
    """Kind to class, by name."""
    return FORMATS.available()


def format_of_kind(kind: str) -> type[Format]:
    """The class that restores parts of this kind, from the file that is called like it; no other is imported.

    Raises:
        UnknownFormat: there is none.
    """
    try:
        return FORMATS.get(kind)
    except InputError as error:
        raise UnknownFormat(str(error)) from error


def providers(parts: Iterable[Format]) -> str:
    """Providers of the formats that are not the project's own, as reported to users; ``""`` if there are none."""
    within = [*parts]
    for part in within:
        within += getattr(part, "formats", [])
    own = f"{plugins.FORMATS.package}."
    foreign = sorted({part.kind for part in within if not type(part).__module__.startswith(own)})
    known = FORMATS.found() if foreign else {}
    return ", ".join(dict.fromkeys(known[kind].provider if kind in known else f"'{kind}'" for kind in foreign))
