"""Where the records are, and the way there. Importing MLflow takes seconds, so it is imported late."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sharkbench.suite.model import Suite

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, SQLITE = "mlflow.db", "sqlite:///"


def tracking_uri(suite: Suite, out: Path) -> str:
    """Where the suite's records go: what it states, else an SQLite file in its output directory."""
    return suite.tracking.uri or f"{SQLITE}{(out / DATABASE).resolve()}"


def sqlite_file(uri: str) -> Path | None:
    """The file that an address names, if it is one of SQLite without further settings."""
    named = uri.removeprefix(SQLITE)
    return Path(named) if uri.startswith(SQLITE) and named and not named.startswith(":") and "?" not in named else None


def without_secrets(text: str) -> str:
    """``text`` with user names, passwords and query strings of all addresses and paths in it replaced by ``***``."""
    text = re.sub(r"(\w[\w+.-]*://)[^/\s@]*@", r"\1***@", text)
    return re.sub(r"(/[^\s?'\"]*)\?[^\s'\"]*", r"\1?***", text)


def client_of(uri: str) -> MlflowClient:
    """A client of the records at ``uri``."""
    # Before MLflow is imported: it reports to its makers unless told not to, and tries for minutes to reach a server.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What goes wrong with the database is raised and told in one line; its traceback is not wanted on the terminal.
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)
