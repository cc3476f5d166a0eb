"""The committed form of a store: everything that tables and reports need comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharkbench.errors import InputError
from sharkbench.leaderboard.cells import cells_of
from sharkbench.results.archive import ARCHIVE, opened, write_archive
from sharkbench.results.store import CODE, VERIFIED, Store
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]


def test_what_is_archived_comes_back_as_it_was(add_run: AddRun, out: Path, tmp_path: Path) -> None:
    add_run("full", None, 0, {"click": 0.8}, speed=speed_of(2.0))
    add_run("hash", 0.1, 0, None, status="failed", reason="näh")
    (out / "runs" / Store(out).keys()[0] / "notes.json").write_text('{"path": []}')
    write_archive(Store(out), tmp_path / ARCHIVE)
    with opened(tmp_path / ARCHIVE) as store:
        assert cells_of(store) == cells_of(Store(out))
        assert (store.directory(store.keys()[0]) / "notes.json").read_text() == '{"path": []}'
        folder = store.out
    assert not folder.exists()
    with opened(tmp_path) as store:  # a directory that holds nothing but the archive
        assert store.keys() == Store(out).keys()


def test_archives_of_before_there_were_digests_of_code_are_read_too(add_run: AddRun, out: Path, tmp_path: Path) -> None:
    first, second = add_run("full", None, 0, {"click": 0.75}), add_run("hash", 0.25, 0, {"click": 0.7})
    (out / "runs" / first / CODE).write_text('{"sharkbench": "0123456789abcdef"}')
    (out / "runs" / second / VERIFIED).write_text('{"steps": []}')
    write_archive(Store(out), tmp_path / "new.parquet")
    with opened(tmp_path / "new.parquet") as store:
        assert store.code(first) == {"sharkbench": "0123456789abcdef"}
        assert store.text(second, VERIFIED) == '{"steps": []}'
    table = pq.read_table(tmp_path / "new.parquet").drop_columns([CODE, VERIFIED])
    pq.write_table(table, tmp_path / "old.parquet")
    with opened(tmp_path / "old.parquet") as store:
        assert [result.key for result in store.results()] == sorted([first, second])
        assert (store.code(first), store.verified(second)) == ({}, None)


def test_the_same_store_gives_the_same_bytes(add_run: AddRun, out: Path, tmp_path: Path) -> None:
    add_run("full", None, 0, {"click": 0.8})
    for name in ("a", "b"):
        write_archive(Store(out), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_runs_win_over_an_archive_beside_them(add_run: AddRun, out: Path) -> None:
    add_run("full", None, 0, {"click": 0.8})
    write_archive(Store(out), out / ARCHIVE)
    add_run("hash", 0.1, 0, {"click": 0.7})
    with opened(out) as store:
        assert store.out == out
        assert len(store.keys()) == 2


def test_what_is_no_archive_is_one_clear_error(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"hello" * 100):
        (tmp_path / ARCHIVE).write_bytes(content)
        with pytest.raises(InputError, match="is not an archive of results"), opened(tmp_path):
            pass
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / ARCHIVE)
    with pytest.raises(InputError, match="is not an archive of results"), opened(tmp_path):
        pass
    with pytest.raises(InputError, match="neither a directory with results"), opened(tmp_path / "none"):
        pass


@pytest.mark.parametrize("key", ["../../evil", "/etc/evil", "a/b", "", None])
def test_a_key_cannot_lead_out_of_the_folder(key: str | None, add_run: AddRun, out: Path, tmp_path: Path) -> None:
    add_run("full", None, 0, {"click": 0.8})
    write_archive(Store(out), tmp_path / ARCHIVE)
    table = pq.read_table(tmp_path / ARCHIVE)
    hostile = table.set_column(0, "key", pa.array([key], pa.string()))
    pq.write_table(hostile, tmp_path / ARCHIVE)
    with pytest.raises(InputError, match="not the key of a run"), opened(tmp_path / ARCHIVE):
        pass
