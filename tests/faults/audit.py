"""``make audit``: are there known weaknesses in what is installed? By pip-audit, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PIP_AUDIT = "pip-audit==2.9.0"


def main() -> int:
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable"], check=True, capture_output=True, text=True
    ).stdout
    # What comes from no index (a local build, a build for one processor) is not in the database under that version.
    pinned = [line.partition("+")[0] for line in frozen.splitlines() if "==" in line]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "installed.txt"
        requirements.write_text("\n".join(pinned) + "\n")
        venv.create(Path(folder) / "venv", with_pip=True)
        python = Path(folder) / "venv" / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PIP_AUDIT]
        if subprocess.run(install, capture_output=True).returncode:
            print(f"skipped: {PIP_AUDIT} cannot be installed here; make audit needs the network", file=sys.stderr)
            return 0
        # The packages are named with their versions, so nothing has to be resolved.
        audit = [python, "-m", "pip_audit", "--requirement", requirements, "--no-deps", "--disable-pip"]
        done = subprocess.run([*audit, "--progress-spinner", "off"], capture_output=True, text=True)
    if "ConnectionError" in done.stderr or "ServiceError" in done.stderr:
        print("skipped: the database of weaknesses cannot be reached from here", file=sys.stderr)
        return 0
    print(done.stdout + done.stderr, end="")
    print(f"{len(pinned)} packages audited")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
