"""The schema of a data set in a suite: one frozen model per source, tagged by ``source``. Imports nothing heavy.

Sources come from the project, from the folders of ``$SHARKBENCH_SOURCES`` and from other packages; only the requested
source is imported.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from sharkbench import plugins
from sharkbench.data.columns import Columns
from sharkbench.errors import InputError, did_you_mean
from sharkbench.plugins import Plugins

SOURCES = Plugins(plugins.SOURCES, lambda: Columns, lambda kind: _name(kind))


def parse(entry: Any) -> Columns:
    """Parse a data set of a suite: a mapping with ``source``, or the bare name of one that needs no settings."""
    if isinstance(entry, Columns):
        return entry
    if isinstance(entry, str):
        entry = _by_name(entry)
    return SOURCES.named(entry, "source")(**entry)


DatasetSpec = Annotated[SerializeAsAny[Columns], BeforeValidator(parse)]
"""One data set of a suite: a mapping tagged by ``source``, or the bare name of one that needs no settings."""


def _by_name(name: str) -> dict[str, Any]:
    with suppress(InputError):  # most stand for a source of the same name
        own = SOURCES.get(name).bare_names()
        if name in own:
            return {"source": name, **own[name]}
    bare = {
        short: {"source": source, **settings}
        for source, kind in SOURCES.available().items()
        for short, settings in kind.bare_names().items()
    }
    if name in bare:
        return bare[name]
    if name in SOURCES.found():
        raise ValueError(f"data set '{name}' needs more than its name: write {{source: {name}, ...}} with its settings")
    raise ValueError(f"unknown data set '{name}'{did_you_mean(name, bare)}")


def _name(kind: type[Columns]) -> str | None:
    """Name of a source class; ``None`` for a shared base class."""
    field = kind.model_fields.get("source")
    return field.default if field is not None and isinstance(field.default, str) else None
