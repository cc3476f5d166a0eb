"""Does a source of data keep its contract? The same checks serve ``sharkbench check source NAME`` and the tests.

The checks read the source's own example, a few rows that it writes into an empty folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sharkbench.contract.checking import Checks, Outcome, outcomes
from sharkbench.data.cache import fingerprint
from sharkbench.data.columns import Columns
from sharkbench.data.prepare import prepare
from sharkbench.data.readers.base import Chunk
from sharkbench.data.spec import SOURCES, parse
from sharkbench.errors import DataError, InputError
from sharkbench.files.durable import scratch_folder


def check_source(name: str) -> Iterator[Outcome]:
    """Run every check on the source called ``name``, one after the other.

    Raises:
        InputError: there is no such source.
    """
    yield from outcomes(CHECKS, SOURCES.get(name))


def _states_itself(kind: type[Columns]) -> None:
    assert kind.__doc__ not in (None, *(base.__doc__ for base in kind.__mro__[1:])), "no docstring: say what it reads"
    silent = [name for name, field in kind.model_fields.items() if name != "source" and not field.description]
    assert not silent, f"setting '{silent[0]}' has no docstring"
    with scratch_folder() as folder:
        assert kind.example(folder) is not None, "example() gives no data; there is nothing to check"


def _survives_json(kind: type[Columns]) -> None:
    with scratch_folder() as folder:
        spec = _example(kind, folder)
        again = parse(spec.model_dump(mode="json"))
    assert again == spec, f"settings change on the way through JSON: {spec!r} became {again!r}"
    for bare, settings in kind.bare_names().items():
        assert parse(bare) == kind(**settings), f"'{bare}' alone stands for other settings"


def _names_its_files(kind: type[Columns]) -> str | None:
    with scratch_folder() as folder:
        spec = _example(kind, folder)
        files = spec.files()
        for file in files:
            kept = file.read_bytes()
            file.unlink()
            said = _refusal(spec)
            file.write_bytes(kept)
            assert said or len(files) > 1, f"without {file.name} it reads on"
            named = said is None or file.name in said or file.parent.name in said
            assert named, f"without {file.name} it says '{said}'"
        if not files:
            return "has no files"
    return None


def _reads_the_same_twice(kind: type[Columns]) -> str:
    with scratch_folder() as folder:
        spec = _example(kind, folder)
        reader = spec.open()
        first, again, anew = (list(one.chunks()) for one in (reader, reader, spec.open()))
        heads = list(spec.open().first_chunks())
    assert first, "it gives no rows"
    for other in (again, anew):
        assert _same(first, other), "a second reading gives other rows"
    starts = [next(chunk for chunk in first if chunk.part == part) for part in {chunk.part for chunk in first}]
    for head in heads:
        assert any(_same([head], [chunk]) for chunk in starts), "first_chunks are not the first chunks"
    return f"{sum(chunk.table.num_rows for chunk in first)} rows in {len(first)} chunks"


def _gives_chunks_in_order(kind: type[Columns]) -> None:
    with scratch_folder() as folder:
        reader = _example(kind, folder).open()
        chunks = list(reader.chunks())
        name = reader.row_name(chunks[0].place, 0)
    rows: dict[str, int] = {}
    columns, done = chunks[0].table.column_names, 0.0
    assert len(set(columns)) == len(columns), "a column is there twice"
    for chunk in chunks:
        assert chunk.table.column_names == columns, "chunks have other columns than the first one"
        assert chunk.first == rows.get(chunk.place, 0), (
            f"{chunk.place}: a chunk says that it begins at row {chunk.first}, {rows.get(chunk.place, 0)} came before"
        )
        rows[chunk.place] = chunk.first + chunk.table.num_rows
        assert chunk.part in ("", "train", "valid", "test"), f"'{chunk.part}' is no part of the data"
        assert done <= chunk.done <= 1, f"after {done:.2f} of the data {chunk.done:.2f} are said to be read"
        done = chunk.done
    assert done > 0.99, f"after the last chunk {done:.2f} of the data are said to be read"
    assert name, "row_name gives no text"


def _fingerprint_follows_the_bytes(kind: type[Columns]) -> str | None:
    with scratch_folder() as folder, scratch_folder() as cache:
        spec = _example(kind, folder)
        before = fingerprint(spec, cache)
        assert fingerprint(spec, cache, afresh=True) == before, "the same files have another fingerprint"
        settings = spec.model_copy(update={"min_count": 3})
        assert fingerprint(settings, cache) != before, "other settings have the same fingerprint"
        for file in spec.files():
            kept = file.read_bytes()
            file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
            assert fingerprint(spec, cache) != before, f"{file.name} changes, and the fingerprint does not"
            file.write_bytes(kept)
        assert fingerprint(spec, cache, afresh=True) == before, "the same bytes again have another fingerprint"
        return None if spec.files() else "has no files"


def _is_prepared(kind: type[Columns]) -> str:
    with scratch_folder() as folder, scratch_folder() as cache:
        spec = _example(kind, folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so few rows give many warnings
            made, again = prepare(spec, cache), prepare(spec, cache)
        labels = tuple(label.name for label in spec.labels)
        assert made.name == spec.name, f"it is called '{made.name}', not '{spec.name}'"
        assert made.schema.labels == labels, f"its labels are {made.schema.labels}, not {labels}"
        inputs = [field.name for field in made.schema.fields]
        leaking = sorted(spec.never_inputs & set(inputs))
        assert not leaking, f"'{leaking[0]}' is an input, though never_inputs names it"
        for part, split in made.splits.items():
            assert len(split.ids), f"the {part} split is empty"
            assert bool((split.ids == again.splits[part].ids).all()), "prepared again, rows have other ids"
        sizes = ", ".join(f"{part} {len(split.ids)}" for part, split in made.splits.items())
    return f"{len(inputs)} fields; {sizes}"


CHECKS: Checks[type[Columns]] = {
    "states itself and has an example": _states_itself,
    "settings survive JSON": _survives_json,
    "names its files, and the one that is missing": _names_its_files,
    "reads the same twice": _reads_the_same_twice,
    "gives chunks in order": _gives_chunks_in_order,
    "the fingerprint follows the bytes": _fingerprint_follows_the_bytes,
    "is prepared": _is_prepared,
}


def _example(kind: type[Columns], folder: Path) -> Columns:
    spec = kind.example(folder)
    assert spec is not None, "example() gives no data"
    return spec


def _refusal(spec: Columns) -> str | None:
    """The error message of reading it; ``None`` where it is read to the end."""
    try:
        list(spec.open().chunks())
    except (InputError, DataError) as error:
        return str(error)
    return None


def _same(one: list[Chunk], other: list[Chunk]) -> bool:
    if len(one) != len(other) or any(a.place != b.place or a.first != b.first for a, b in zip(one, other, strict=True)):
        return False
    return pa.concat_tables([a.table for a in one]).equals(pa.concat_tables([b.table for b in other]))
