"""``python -m tests.faults.unpack_once ARCHIVE``: opens an archive of results, prints what it came to as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sharkbench.errors import SharkbenchError
from sharkbench.results.archive import opened
from tests.faults.peak import peak_bytes

try:
    with opened(Path(sys.argv[1])) as store:
        told = {"code": 0, "said": f"{len(store.keys())} runs"}
except SharkbenchError as error:
    told = {"code": 2, "said": str(error)}
print(json.dumps(told))
print(json.dumps({"peak": peak_bytes()}))
