"""What is read is what was written, or it is named: whatever has happened to a file."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharkbench.files import digests
from sharkbench.files.digests import SEAL, Damaged, check, digest, seal


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=300), data=st.data())
def test_any_change_of_any_file_is_found_and_named(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    (tmp_path / "one").write_bytes(content)
    (tmp_path / "two").write_bytes(b"another")
    seal(tmp_path, ["one", "two"])
    check(tmp_path, ["one", "two"])
    at = data.draw(st.integers(0, len(content) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                content[:at],
                content + b"\0",
                content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :],
                content[:at] + bytes(len(content) - at),
            ]
        )
    )
    (tmp_path / "one").write_bytes(changed)
    if changed == content:
        check(tmp_path, ["one"])
    else:
        with pytest.raises(Damaged, match="/one is damaged: its bytes are not those that were written"):
            check(tmp_path, ["two", "one"])
    check(tmp_path, ["two"])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"one": 1}', "\0" * 90, "[" * 99_999])
def test_a_seal_that_says_nothing_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "one").write_bytes(b"x")
    (tmp_path / SEAL).write_text(text)
    with pytest.raises(Damaged, match=f"{SEAL} is damaged"):
        check(tmp_path, ["one"])


def test_what_is_missing_or_cannot_be_read_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").write_bytes(b"x")
    with pytest.raises(Damaged, match=f"{SEAL} is missing"):
        check(tmp_path, ["one"])
    seal(tmp_path, ["one"])
    with pytest.raises(Damaged, match="says nothing of two"):
        check(tmp_path, ["two"])

    def bad_sector(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", bad_sector)
        with pytest.raises(Damaged, match="one is damaged: the disk cannot read it"):
            check(tmp_path, ["one"])
    (tmp_path / "one").unlink()
    with pytest.raises(Damaged, match="one is missing"):
        check(tmp_path, ["one"])


def test_a_file_is_read_once_per_process_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, reads, read = tmp_path / "one", [], digests.hashlib.file_digest
    monkeypatch.setattr("hashlib.file_digest", lambda *args: (reads.append(1), read(*args))[1])
    file.write_bytes(b"x")
    first = digest(file)
    assert digest(file) == first
    assert len(reads) == 2  # a change right now might leave its state as it is
    monkeypatch.setattr("time.time", lambda now=time.time: now() + 10)
    assert [digest(file) for _ in range(3)] == [first] * 3
    assert len(reads) == 3
    state = file.stat()
    while file.stat().st_ctime_ns == state.st_ctime_ns:  # the clock of a file system has coarse ticks
        file.write_bytes(b"y")
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # same size, same time; ctime says otherwise
    assert digest(file) != first
