"""Quotes in text files: what stands inside them, and what they must not swallow."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sharkbench.data.prepare import prepare
from sharkbench.data.readers import records
from sharkbench.data.readers.csv import CsvSource
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import DataError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)


def read(file: Path, content: bytes, **settings_: Any) -> tuple[list[list[str]], list[str]]:
    file.write_bytes(content)
    source = CsvSource([("", [file])], **settings_)
    rows = [list(row.values()) for chunk in source.chunks() for row in chunk.table.to_pylist()]
    return rows, source.remarks()


CELLS = st.text('a",\r\n;', max_size=6) | st.sampled_from(["\r\n", '"', '""', "a\r", "\n\n\n"])


@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(CELLS, st.just("x"), CELLS), min_size=1, max_size=30),
    size=st.integers(60, 200),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_line_ends_inside_quotes_never_cut_a_row(
    tmp_path: Path, rows: list[tuple[str, ...]], size: int, end: str
) -> None:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator=end, quoting=csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", size)
        assert read(tmp_path / "d.csv", sink.getvalue().encode())[0] == [list(row) for row in rows]


@pytest.mark.parametrize("size", [40, 64, 1 << 20])
def test_quotes_amid_text_are_text_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", size)
    lines = ['5" pipe,x', 'a""b,x', '"he said ""no""",x', "plain,x"] * 20
    rows, remarks = read(tmp_path / "d.csv", "\n".join(["a,b", *lines]).encode())
    assert rows == [['5" pipe', "x"], ['a""b', "x"], ['he said "no"', "x"], ["plain", "x"]] * 20
    assert not remarks


TSV = [f"{'' if i % 20 else chr(34)}best phone\t{i % 7}\t{i % 2}" for i in range(60)]


def test_quotes_of_a_tab_separated_log_swallow_nothing(tmp_path: Path) -> None:
    file = tmp_path / "d.tsv"
    file.write_text("\n".join(["query\titem\ty", *TSV]))
    spec = {"source": "csv", "path": str(file), "labels": "y"}
    with pytest.raises(DataError, match=r"d\.tsv, line 2: a quote opens a value that .*; .* set quote: none"):
        prepare(ADAPTER.validate_python(spec), tmp_path)
    data = prepare(ADAPTER.validate_python({**spec, "quote": "none"}), tmp_path)
    assert sum(data.summary["rows"].values()) == 60
    assert data.vocabulary("query") == [None, "best phone", '"best phone']


@pytest.mark.parametrize(
    ("text", "settings_", "says"),
    [
        ('a,b\nx,1\n"y,2\nz,3\n', {}, r"line 3: a quote opens a value that never ends; .*quote: none"),
        ('a,b\n"y,2\n"z,3\n', {}, r"line 2: a quote opens a value that ends amid text of a later line"),
        ('a\tb\n"y\t2\nz"\t3\n', {"separator": "\t"}, r"line 2: a quote opens a value that goes on in the next line"),
        ('a,b\nx,1\n"' + "y,2\n" * 60, {}, r"line 3: a row is longer than 100 bytes; .*quote: none"),
    ],
)  # fmt: skip
def test_quotes_that_swallow_rows_are_refused_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, settings_: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 100)
    with pytest.raises(DataError, match=says):
        read(tmp_path / "d.csv", text.encode(), **settings_)


def test_what_may_have_swallowed_rows_is_told(tmp_path: Path) -> None:
    text = 'a,b,c\nx,"one\n2,3,4",5\n"3,4\nlines",1,2\n'
    rows, remarks = read(tmp_path / "d.csv", text.encode())
    assert rows == [["x", "one\n2,3,4", "5"], ["3,4\nlines", "1", "2"]]
    [said] = remarks
    assert "1 values in quotes" in said
    assert "d.csv, line 2: " in said
    _, tabs = read(tmp_path / "t.csv", b'a\tb\n"x\t2\nz"\t3\n', separator="\t", quote='"')
    assert len(tabs) == 1


def test_single_quotes_can_be_the_sign(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "d.csv", b"a,b\n'x,\ny',\"z\n", quote="'")
    assert rows == [["x,\ny", '"z']]


def test_arrow_takes_each_read_as_a_block() -> None:
    """Arrow takes what a read gives as a block of its own; were that to change, rows would be cut again."""
    blocks = [b"1,'a\nb'\n2,c\n", b"3,d\n"]

    class Given:
        closed = False

        def read(self, nbytes: int | None = None) -> bytes:
            return blocks.pop(0) if blocks else b""

        def readable(self) -> bool:
            return True

        def close(self) -> None:
            self.closed = True

    parse = pa.csv.ParseOptions(quote_char="'")
    reader = pa.csv.open_csv(pa.PythonFile(Given(), mode="r"), pa.csv.ReadOptions(column_names=["a", "b"]), parse)
    assert [batch.num_rows for batch in reader] == [2, 1]
