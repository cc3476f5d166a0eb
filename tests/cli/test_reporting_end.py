"""The report that ``run`` ends with costs no result."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharkbench.cli.report import report_at_the_end
from sharkbench.suite.load import load


def test_a_report_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()

    assert report_at_the_end(load("quickstart"), tmp_path) is None

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the report could not be written" in told
    assert "the results are stored" in told
