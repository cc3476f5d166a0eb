"""``leaderboard``, ``track``, ``ui``: results on the terminal and in MLflow."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from sharkbench.cli.options import Out, Settings, SuiteName, opened
from sharkbench.errors import InputError
from sharkbench.results.uncollected import uncollected


@uncollected()
def leaderboard(suite: SuiteName, settings: Settings = None, out: Out = None) -> None:
    """Print the leaderboard of finished runs, and write it as CSV."""
    from sharkbench import leaderboard as tables
    from sharkbench.cli.console import console
    from sharkbench.leaderboard.cells import cells_of
    from sharkbench.leaderboard.standings import standings_of
    from sharkbench.leaderboard.terminal import print_leaderboard
    from sharkbench.results import archive

    _, out_dir = opened(suite, settings, out)
    _check_exists(out_dir, suite)
    with archive.opened(out_dir) as store:
        standings = standings_of(cells_of(store))
        print_leaderboard(store.out, console(), standings)
        # Results from an archive are only shown; their files are not rewritten.
        for path in tables.write(out_dir, standings) if store.out == out_dir else ():
            print(path)


def track(suite: SuiteName, settings: Settings = None, out: Out = None) -> None:
    """Record stored runs in MLflow that are not recorded yet."""
    from sharkbench import tracking

    loaded, out_dir = opened(suite, settings, out)
    _check_exists(out_dir, suite)
    uri = tracking.tracking_uri(loaded, out_dir)
    shown = tracking.without_secrets(uri, uri)
    try:
        added = tracking.track(loaded, out_dir, lambda line: print(line, file=sys.stderr))
    except Exception as error:  # anything that MLflow and its dependencies raise
        raise InputError(f"tracking.uri: {shown} cannot be written to ({tracking.reason(error, uri)})") from error
    print(f"{added} runs recorded at {shown}")


def ui(
    suite: SuiteName,
    settings: Settings = None,
    out: Out = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000,
) -> None:
    """Serve the MLflow UI of a suite, reachable from this machine only."""
    from sharkbench.tracking import tracking_uri

    loaded, out_dir = opened(suite, settings, out)
    uri = tracking_uri(loaded, out_dir)
    if not loaded.tracking.uri and not (out_dir / "mlflow.db").exists():
        raise InputError(
            f"{out_dir} holds no MLflow records; 'sharkbench run {suite}' makes them, or name another --out"
        )
    if not uri.startswith("sqlite:"):
        raise InputError("tracking.uri: the records lie on a server, which has a UI of its own; open that in a browser")
    _check_free(port)
    print(f"http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        uri,
        "--host",
        "127.0.0.1",
        "--workers",
        "1",
    ]
    if ended := _until_interrupted([*command, "--port", str(port)]):
        raise InputError(f"the MLflow UI ended with exit code {ended}; its messages are above")


def _until_interrupted(command: list[str]) -> int:
    """Run a server until it ends, or until Ctrl-C or SIGTERM, then end all its processes. Returns its exit code."""
    # The server only shows records: it needs no telemetry and no job workers.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # In a session of its own, so that all its processes can be ended together.
    server = subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _check_exists(out: Path, suite: str) -> None:
    if not out.is_dir():
        raise InputError(f"{out}: no such directory; 'sharkbench run {suite}' makes it, or name another --out")


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None
