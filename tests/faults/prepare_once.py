"""``python -m tests.faults.prepare_once SPEC FOLDER``: prepares one data set, prints what it came to as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sharkbench.data.prepare import prepare
from sharkbench.errors import SharkbenchError
from tests.faults.mutated_data import ADAPTER
from tests.faults.peak import peak_bytes

try:
    told = {"code": 0, "said": str(prepare(ADAPTER.validate_python(json.loads(sys.argv[1])), Path(sys.argv[2])).path)}
except SharkbenchError as error:
    told = {"code": 2, "said": str(error)}
print(json.dumps(told))
print(json.dumps({"peak": peak_bytes()}))
