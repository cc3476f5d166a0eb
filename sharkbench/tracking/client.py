"""Where the records are, and the way there. Importing MLflow takes seconds, so it is imported late."""

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
"""MLflow reports to its makers unless told not to. A server that takes a request and never answers is waited for twice
so many seconds, not for the quarter of an hour that MLflow has in mind."""
DATABASE, SQLITE = "mlflow.db", "sqlite:///"


def tracking_uri(suite: Suite, out: Path) -> str:
    """Where the suite's records go: what it states, else an SQLite file in its output directory."""
    return suite.tracking.uri or f"{SQLITE}{(out / DATABASE).resolve()}"


def sqlite_file(uri: str) -> Path | None:
    """The file that an address names, if it is one of SQLite without further settings."""
    named = uri.removeprefix(SQLITE)
    return Path(named) if uri.startswith(SQLITE) and named and not named.startswith(":") and "?" not in named else None


def without_secrets(text: str, address: str) -> str:
    """``text`` with user name, password and query of ``address`` replaced by ``***``, and those of all addresses in it.

    Also where parts of three characters or more stand by themselves: what reads ``http://user:pass/word@host`` another
    way complains about the port ``pass``.
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
    """In one line, why the records at ``address`` cannot be reached: nothing that is secret, no statement of SQL."""
    said = without_secrets(" ".join(str(error).split()), address)
    return printable(f"{type(error).__name__}: {said}".split(" [SQL:")[0])


def _told(rest: str) -> tuple[str, str]:
    """What may be shown of that which follows ``://``, and what may not."""
    user, at, place = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    if "?" in user:
        return "***", rest  # a password with a '?', or a query with an '@'
    place, mark, query = place.partition("?")
    return (at and "***@") + place + (mark and "?***"), f"{user}?{query}"


def client_of(uri: str) -> MlflowClient:
    """A client of the records at ``uri``."""
    for name, value in SURROUNDINGS.items():  # before MLflow is imported, and only what the user has not set
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What goes wrong with the database is raised and told in one line; its traceback is not wanted on the terminal.
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)
