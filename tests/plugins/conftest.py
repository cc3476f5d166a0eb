"""Made-up plug-ins in folders of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins import made_up


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a method that carries a format, a backbone and a source, known by the environment."""
    for variable, place in made_up.write(tmp_path).items():
        monkeypatch.setenv(variable, place)
    return tmp_path
