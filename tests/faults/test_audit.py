"""``make audit`` never passes off as sound what it could not look up."""

from __future__ import annotations

import pytest

from tests.faults.audit import tell


def test_what_was_not_looked_up_is_not_called_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([{"name": "a", "skip_reason": "not found"}]) == 0
    assert capsys.readouterr().out.startswith("skipped:")


def test_a_weakness_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    weakness = {"id": "CVE-1", "fix_versions": ["2"]}
    assert tell([{"name": "a", "version": "1", "vulns": [weakness]}, {"name": "b", "skip_reason": "?"}]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a 1: CVE-1, fixed in: 2",
        "1 packages audited, 1 unknown, 1 weaknesses",
    ]
