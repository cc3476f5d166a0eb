"""Writing: whole and on disk or not at all, and what killed writers leave is swept by the next one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sharkbench.files import durable
from sharkbench.files.durable import no_room, rename_folder, replacing, scratch_folder, sweep, write_text


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is flushed to disk, and of what is renamed, in order."""
    done: list[str] = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def named(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append(f"fsync {named(descriptor)}"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda own, to: (done.append(f"rename {own.name}"), replace(own, to))[1])
    monkeypatch.setattr(Path, "rename", lambda own, to: (done.append(f"rename {own.name}"), rename(own, to))[1])
    return done


def test_a_file_is_on_disk_before_it_has_its_name_and_the_name_after_that(tmp_path: Path, synced: list[str]) -> None:
    write_text(tmp_path / "file", "text")
    partial = synced[0].removeprefix("fsync ")
    assert synced == [f"fsync {partial}", f"rename {partial}", f"fsync {tmp_path.name}"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_on_disk_before_it_has_its_name(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "new" / "inside").mkdir(parents=True)
    for name in ("one", "inside/two"):
        (tmp_path / "new" / name).write_text("x")
    rename_folder(tmp_path / "new", tmp_path / "named")
    at = synced.index("rename new")
    assert {"fsync one", "fsync two", "fsync inside", "fsync new"} == set(synced[:at])
    assert synced[at + 1 :] == [f"fsync {tmp_path.name}"]


@pytest.mark.parametrize("moment", ["writing", "flushing"])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "flushing":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), replacing(tmp_path / "file") as partial:  # noqa: PT012
        partial.write_text("new")
        if moment == "writing":
            full(0)
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from sharkbench.files.durable import {writer}
with {writer}(Path(sys.argv[1]) {more}) as partial:
    {write}
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_swept_by_the_next_writer_of_the_folder(tmp_path: Path) -> None:
    code = KILLED.format(writer="replacing", more="/ 'one'", write="partial.write_text('half')")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode < 0
    assert len(list(tmp_path.iterdir())) == 1
    write_text(tmp_path / "another", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_what_is_being_written_is_not_swept(tmp_path: Path) -> None:
    with replacing(tmp_path / "one") as partial:
        partial.write_text("new")
        sweep(tmp_path)
        write_text(tmp_path / "one", "meanwhile")
        assert partial.exists()
    assert (tmp_path / "one").read_text() == "new"


def test_files_of_others_are_not_swept(tmp_path: Path) -> None:
    for name in (".hidden", "a.partial", ".x.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".link.partial").symlink_to(tmp_path / ".hidden")
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_folders_of_killed_processes_are_swept_and_those_of_living_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = KILLED.format(writer="scratch_folder", more="", write="(partial / 'f').write_text('x')")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode < 0
    assert len(list(tmp_path.iterdir())) == 1
    with scratch_folder() as one, scratch_folder() as other:
        assert {path.name for path in tmp_path.iterdir()} == {one.name, other.name}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer", ["file", "folder"])
def test_who_is_swept_before_he_could_lock_begins_anew(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = durable._lock, []

    def too_late(descriptor: int) -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            sweep(tmp_path)
            for folder in tmp_path.iterdir():
                folder.rmdir()
        lock(descriptor)

    monkeypatch.setattr(durable, "_lock", too_late)
    if writer == "file":
        write_text(tmp_path / "file", "text")
        assert (tmp_path / "file").read_text() == "text"
    else:
        with scratch_folder(tmp_path) as folder:
            (folder / "file").write_text("text")
    assert swept


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EROFS, "x"), True),
        (RuntimeError("write failed: No space left on device (os error 28)"), True),
        (OSError(errno.ENOENT, "x"), False),
        (ValueError("space"), False),
    ],
)
def test_a_full_disk_is_known_however_it_is_said(error: Exception, full: bool) -> None:
    assert no_room(error) == full
