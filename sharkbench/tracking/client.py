"""The address of the records and the MLflow client. Importing MLflow takes seconds, so it is imported late."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sharkbench.errors import printable
from sharkbench.suite.model import Suite

if TYPE_CHECKING:
    from mlflow import MlflowClient

SURROUNDINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Environment variables for MLflow. They switch its telemetry off and shorten its timeout: a server that accepts a
request and never answers is waited for twice these seconds, not for MLflow's default of a quarter of an hour."""
DATABASE, SQLITE = "mlflow.db", "sqlite:///"


def tracking_uri(suite: Suite, out: Path) -> str:
    """Tracking URI of the suite: the stated one, else an SQLite file in its output directory."""
    return suite.tracking.uri or f"{SQLITE}{(out / DATABASE).resolve()}"


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address without further settings, else ``None``."""
    named = uri.removeprefix(SQLITE)
    return Path(named) if uri.startswith(SQLITE) and named and not named.startswith(":") and "?" not in named else None


def without_secrets(text: str, address: str) -> str:
    """Replace user name, password and query of ``address``, and of all addresses in ``text``, by ``***``.

    Parts of three characters or more are also replaced on their own: a parser that splits
    ``http://user:pass/word@host`` differently reports the port ``pass``.
    """
    start = address.find("://") + 3 if "://" in address else 0
    shown, secret = _told(address[start:])
    parts = {part for form in (secret, unquote(secret)) for part in re.split(r"[/:@?#&=\s]+", form) if len(part) > 2}
    hidden = []
    for other in text.split(address):
        for part in sorted(parts, key=len, reverse=True):
            other = other.replace(part, "***")
        other = re.sub(r"(?<=://)\S+", lambda found: _told(found[0])[0], other)
        hidden.append(re.sub(r"(/[^\s?'\"]*)\?[^\s'\"]*", r"\1?***", other))
    return (address[:start] + shown).join(hidden)


def reason(error: Exception, address: str) -> str:
    """The reason in one line why the records at ``address`` cannot be reached, without secrets and SQL statements."""
    said = without_secrets(" ".join(str(error).split()), address)
    return printable(f"{type(error).__name__}: {said}".split(" [SQL:")[0])


def _told(rest: str) -> tuple[str, str]:
    """The public and the secret part of the text after ``://``."""
    user, at, place = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    if "?" in user:
        return "***", rest  # a password with a '?', or a query with an '@'
    place, mark, query = place.partition("?")
    return (at and "***@") + place + (mark and "?***"), f"{user}?{query}"


def client_of(uri: str) -> MlflowClient:
    """An MLflow client for the records at ``uri``."""
    for name, value in SURROUNDINGS.items():  # before MLflow is imported, and only variables that the user has not set
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Database errors are raised and reported in one line; their traceback should not be on the terminal.
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)
