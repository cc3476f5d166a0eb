"""``make audit``: are there known weaknesses in what is installed? By pip-audit, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

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
        done = subprocess.run([*audit, "--progress-spinner", "off", "--format", "json"], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"skipped: the database of weaknesses does not answer\n{done.stderr[-500:]}", file=sys.stderr)
        return 0
    return tell(packages)


def tell(packages: list[dict[str, Any]]) -> int:
    """Print what is known; 1 where there is a weakness. A package that was not looked up counts as not audited."""
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        print("skipped: the index that packages come from here tells no weaknesses; make audit needs PyPI's own")
        return 0
    weak = [(package, found) for package in audited for found in package["vulns"]]
    for package, found in weak:
        fixed = ", ".join(found["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {found['id']}, fixed in: {fixed}")
    print(f"{len(audited)} packages audited, {len(packages) - len(audited)} unknown, {len(weak)} weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
