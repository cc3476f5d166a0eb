"""Every registered method keeps every promise of the contract."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sharkbench import registry
from sharkbench.check import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda title: title.replace(" ", "-"))
@pytest.mark.parametrize("name", registry.names())
def test_method_keeps_the_contract(name: str, check: str) -> None:
    CHECKS[check](registry.get(name))


@pytest.mark.parametrize("name", registry.names())
def test_method_file_is_light_to_import(name: str) -> None:
    code = f"import sys; from sharkbench import registry; registry.get({name!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, (
        f"importing '{name}' imports torch"
    )
