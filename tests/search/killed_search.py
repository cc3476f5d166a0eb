"""Searches as a program of its own that ends itself while it writes to the journal: before, amid or after a line.

``python -m tests.search.killed_search FOLDER LINES WHEN``
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from tests.search.conftest import Bench

ASKED = {"modes": ["lossless", "per_budget", "pareto"], "tune": "learning_rate", "trials": 4, "pruning": False}

_append = JournalFileBackend.append_logs


def main() -> None:
    folder, lines, when = sys.argv[1:]
    left = int(lines)

    def append(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        nonlocal left
        left -= len(logs)
        if left > 0:
            _append(self, logs)
            return
        if when == "amid":
            text = "\n".join(json.dumps(log) for log in logs)
            with open(self._file_path, "ab") as file:
                file.write(text[: len(text) // 2].encode())
        elif when == "after":
            _append(self, logs)
        os.kill(os.getpid(), signal.SIGKILL)

    JournalFileBackend.append_logs = append  # type: ignore[method-assign]
    Bench(Path(folder)).search(jobs=2, **ASKED)


main()
