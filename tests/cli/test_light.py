"""``--help`` loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "mlflow", "datasets", "pyarrow", "polars", "numpy", "rich.console", "yaml")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list", "--help"], ["--version"]])
def test_help_is_light(words: list[str]) -> None:
    program = (
        f"import sys\nsys.argv = {['sharkbench', *words]!r}\nfrom sharkbench.cli import main\n"
        f"try:\n    main()\nfinally:\n    print('loaded', *(m for m in {HEAVY} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"
