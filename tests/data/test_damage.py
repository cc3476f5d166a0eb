"""Prepared data and its sources are believed only where they are what they were taken for."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from sharkbench.data import cache
from sharkbench.data import prepare as preparing
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.prepare import fingerprint, open_prepared, prepare, prepared_path
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import ArtifactError, DataError, StorageError
from sharkbench.files.digests import SEAL, MadeAgain

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
FILES = ("train.arrow", "valid.arrow", "test.arrow", "vocabulary.arrow", "dataset.json", SEAL)


def csv_text(first: str = "a", rows: int = 60) -> str:
    return "u,x,y\n" + f"{first},1,1\n" + "".join(f"{'abc'[i % 3]},{i},{i % 2}\n" for i in range(rows - 1))


@pytest.fixture
def spec(tmp_path: Path) -> Any:
    (tmp_path / "data.csv").write_text(csv_text())
    return ADAPTER.validate_python({"source": "csv", "path": str(tmp_path / "data.csv"), "labels": ["y"]})


@pytest.fixture
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="data set")
        yield


@pytest.fixture
def data(tmp_path: Path) -> PreparedDataset:
    return prepare(ADAPTER.validate_python({"source": "synthetic", "rows": 4000}), tmp_path)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def lost_page(content: bytes) -> bytes:
    """Four thousand bytes of zeros where something was, as a disk or a crash leaves them."""
    at = max(0, len(content) - 5000)
    return content[:at] + bytes(min(4096, len(content) - at)) + content[at + 4096 :]


@pytest.mark.parametrize("name", FILES)
def test_damaged_prepared_data_is_refused_by_name_and_prepared_again(data: PreparedDataset, name: str) -> None:
    again = ADAPTER.validate_python({"source": "synthetic", "rows": 4000})
    wanted, file = contents(data.path), data.path / name
    whole = file.read_bytes()
    damages: list[Callable[[], object]] = [
        lambda: file.write_bytes(lost_page(whole)),
        lambda: file.write_bytes(whole[: len(whole) // 2]),
        file.unlink,
    ]
    for damage in damages:
        damage()
        with pytest.raises(ArtifactError, match=f"{name} is .*delete the folder"):
            open_prepared(data.path)
        with pytest.warns(MadeAgain, match=f"{name} is .*; data set 'synthetic' is prepared again") as told:
            prepare(again, data.path.parent.parent)
        assert len(told) == 1
        assert contents(data.path) == wanted
    with warnings.catch_warnings(action="error"):
        prepare(again, data.path.parent.parent)
    assert [p.name for p in data.path.parent.iterdir() if p.suffix != ".lock"] == [data.path.name]


def test_a_split_that_is_not_opened_is_not_read(data: PreparedDataset) -> None:
    (data.path / "test.arrow").write_bytes(b"")
    assert set(open_prepared(data.path, ("train", "valid")).splits) == {"train", "valid"}


def test_a_folder_without_digests_is_of_another_version(data: PreparedDataset) -> None:
    wanted = contents(data.path)
    (data.path / SEAL).unlink()
    with pytest.warns(MadeAgain, match=f"{SEAL} is missing"):
        prepare(ADAPTER.validate_python({"source": "synthetic", "rows": 4000}), data.path.parent.parent)
    assert contents(data.path) == wanted


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files were written long ago, so that what they are is remembered."""
    monkeypatch.setattr(cache, "SETTLED", -1e9)


def set_content(file: Path, text: str, how: str) -> None:
    """Another text of the same size under the same name, with the time of the old one."""
    before = file.stat()
    if how == "moved there":
        other = file.with_name("other.csv")
        other.write_text(text)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(file)
        return
    while file.stat().st_ctime_ns == before.st_ctime_ns:
        file.write_text(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("how", ["written in place", "moved there"])
@pytest.mark.usefixtures("settled")
def test_another_export_of_the_same_size_and_time_is_other_data(spec: Any, tmp_path: Path, how: str) -> None:
    before = fingerprint(spec, tmp_path / "cache")
    assert fingerprint(spec, tmp_path / "cache") == before
    set_content(tmp_path / "data.csv", csv_text("b"), how)
    assert fingerprint(spec, tmp_path / "cache") != before
    set_content(tmp_path / "data.csv", csv_text("a"), how)
    assert fingerprint(spec, tmp_path / "cache") == before


@pytest.mark.usefixtures("settled")
def test_a_file_that_has_not_changed_is_read_once(spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(spec, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", lambda *args: pytest.fail("read again"))
        assert fingerprint(spec, tmp_path / "cache") == before


def test_what_was_written_a_moment_ago_is_not_remembered(spec: Any, tmp_path: Path) -> None:
    """A change right after it was read could leave it with the same times."""
    fingerprint(spec, tmp_path / "cache")
    assert not (tmp_path / "cache" / "digests").exists()


@pytest.mark.parametrize("when", ["before it is read", "while it is read", "after it was read, before it is encoded"])
@pytest.mark.usefixtures("settled", "quiet")
def test_a_source_that_changes_meanwhile_is_refused_and_poisons_nothing(
    spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    from sharkbench.data import scan

    cached, file = tmp_path / "cache", tmp_path / "data.csv"
    real: Any = scan.scan

    def scanned(*args: Any) -> Any:
        if when == "before it is read":
            set_content(file, csv_text("b"), "written in place")
        found = real(*args)
        if when != "before it is read":
            set_content(file, csv_text("c"), "written in place" if "while" in when else "moved there")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(scan, "scan", scanned)
        with pytest.raises(DataError, match="have changed while they were read; wait until they are written"):
            prepare(spec, cached)
    assert [path.name for path in (cached / "prepared").iterdir() if path.suffix != ".lock"] == []
    # Of what lies there now, and of what lay there before, the right data is made.
    for text in (file.read_text(), csv_text("a")):
        file.write_text(text)
        alone = shutil.copy(file, tmp_path / "alone.csv")
        other = spec.model_copy(update={"path": str(alone)})
        assert contents(prepare(spec, cached).path) == contents(prepare(other, tmp_path / "fresh").path)


def test_a_source_that_changes_while_it_is_digested_is_refused(
    spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Any = hashlib.file_digest

    def slowly(stream: Any, name: str) -> Any:
        found = read(stream, name)
        with (tmp_path / "data.csv").open("a") as more:
            more.write("a,1,1\n")
        return found

    monkeypatch.setattr("hashlib.file_digest", slowly)
    with pytest.raises(DataError, match=r"data.csv: changes while it is read"):
        fingerprint(spec, tmp_path / "cache")


def test_leftovers_of_other_data_are_swept_unless_someone_is_at_them(tmp_path: Path) -> None:
    from filelock import FileLock

    folder = tmp_path / "prepared"
    for name in ("dead.making-1", "alive.making-2"):
        (folder / name).mkdir(parents=True)
        (folder / name / "scan.arrow").write_bytes(b"x")
    with FileLock(folder / "alive.lock"):
        data = prepare(ADAPTER.validate_python({"source": "synthetic", "rows": 1000}), tmp_path)
    assert {p.name for p in folder.iterdir() if p.suffix != ".lock"} == {data.path.name, "alive.making-2"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_cache_without_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*args: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(preparing, "_make", full)
    with pytest.raises(StorageError, match=rf"{tmp_path}: prepared data cannot be written there \(.*--cache"):
        prepare(ADAPTER.validate_python({"source": "synthetic", "rows": 1000}), tmp_path)


def test_a_cache_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("x")
    with pytest.raises(StorageError, match="cache: prepared data cannot be written there"):
        prepare(ADAPTER.validate_python({"source": "synthetic", "rows": 1000}), tmp_path / "cache")


def test_where_digests_cannot_be_remembered_they_are_worked_out(
    spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = prepared_path(spec, tmp_path / "cache").name
    (tmp_path / "other").write_text("x")
    monkeypatch.setattr("time.time", lambda now=time.time: now() + 10)
    assert prepared_path(spec, tmp_path / "other").name == wanted
