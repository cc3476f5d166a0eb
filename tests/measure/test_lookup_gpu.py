"""The benchmark of lookups on a GPU, as far as a processor can try it."""

from __future__ import annotations

import csv
from pathlib import Path

import lookup_gpu
import pytest
import torch

TINY = ["--rows", "2600", "--rounds", "3", "--dimension", "16", "--batch", "4", "--stream", "uniform"]
WORDS = ["--device", "cpu", *TINY]


def test_every_format_has_its_row(tmp_path: Path) -> None:
    assert lookup_gpu.main([*WORDS, "--out", str(tmp_path / "table.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    by_name = {row["format"]: row for row in rows}
    assert len(by_name) == len(rows) > 10
    assert all(float(row["us"]) > 0 and float(row["us_plain"]) > 0 for row in rows)
    assert all(row["kernel"] != "triton" for row in rows)
    assert by_name["fp32"]["same_bits"] == "True"
    moved = 4 * 26 * (4 + 64 + 64)
    assert float(by_name["fp32"]["gigabytes_per_second"]) == pytest.approx(
        moved / float(by_name["fp32"]["us"]) / 1e3, rel=0.02, abs=0.01
    )
    assert by_name["hash n/100"]["gigabytes_per_second"] == "", "its rows are shared"


def test_other_bits_from_a_gpu_kernel_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"format": "fp32", "kernel": "triton", "same_bits": False}
    monkeypatch.setattr(lookup_gpu, "measure", lambda *_: [row])
    assert lookup_gpu.main(WORDS) == 1


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        lookup_gpu.main([])
    assert "no GPU" in capsys.readouterr().err
