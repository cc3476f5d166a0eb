"""The MLflow UI over records of ours: runs fold under their invocation, and compare by figures as they are named."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from sharkbench import tracking
from sharkbench.leaderboard.report import write_report
from sharkbench.results.store import Store
from sharkbench.suite.load import load
from sharkbench.tracking.client import client_of
from tests.browser.conftest import Visit
from tests.leaderboard.plausible import fill

if TYPE_CHECKING:
    from playwright.sync_api import Page

WAIT = 120_000
SUITE = "name: plausible\ndatasets: [synthetic]\nbackbones: [dnn]\nmethods: [full]\n"


@dataclass
class Ui:
    """A server over a suite's records."""

    address: str
    experiment: str
    ok: list[str]
    """Child runs that are ok."""
    parent: str


@pytest.fixture(scope="session")
def ui(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    out = tmp_path_factory.mktemp("tracked")
    file = out / "plausible.yaml"
    file.write_text(SUITE)
    fill(Store(out), datasets=["kuairand"], backbones=["deepfm"], methods=("full", "int8", "hash"), seeds=1, rows=300)
    suite = load(file)
    assert tracking.track(suite, out) == 5
    tracking.attach(
        suite, out, [path for path in write_report(Store(out), suite, out, {}) if path.suffix != ".parquet"]
    )

    client = client_of(tracking.tracking_uri(suite, out))
    experiment = client.get_experiment_by_name("plausible").experiment_id
    runs = client.search_runs([experiment])
    ok = [run.info.run_id for run in runs if "auc" in run.data.metrics]
    parent = next(run.info.run_id for run in runs if "mlflow.parentRunId" not in run.data.tags)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from sharkbench.cli import main; main()", "ui", str(file), "--out", str(out)]
    with (out / "ui.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server, out / "ui.log")
            yield Ui(f"http://127.0.0.1:{port}", experiment, ok, parent)
        finally:
            os.kill(server.pid, signal.SIGTERM)
            server.wait(60)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the MLflow UI has ended: {log.read_text()}")


def _complaints(visit: Visit) -> list[str]:
    # MLflow asks who is logged in, and a server without accounts answers that it does not know; a browser that has
    # put off a layout to the next frame says so.
    harmless = ("404", "ResizeObserver loop")
    return [line for line in visit.console if line.startswith("error") and not any(part in line for part in harmless)]


def test_runs_fold_and_compare_and_the_report_hangs_on_their_parent(ui: Ui, visit: Visit) -> None:
    """One test, because the server takes longer to start than all of it."""
    _runs_are_listed_and_fold_under_their_invocation(ui, visit.page)
    _runs_compare_by_auc_and_bytes_ratio_with_no_renaming(ui, visit.page)
    _report_hangs_on_the_parent_run(ui, visit.page)
    assert _complaints(visit) == []


def _runs_are_listed_and_fold_under_their_invocation(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/#/experiments/{ui.experiment}/runs")
    parent = page.get_by_role("link", name="first", exact=True)
    parent.wait_for(timeout=WAIT)
    child = page.get_by_role("link", name="full deepfm kuairand seed 0", exact=True)
    assert child.count() == 0
    page.get_by_role("gridcell").filter(has=parent).get_by_role("button").first.click()
    child.wait_for(timeout=WAIT)
    assert page.get_by_role("link", name="deepfm kuairand seed 0").count() == 5


def _runs_compare_by_auc_and_bytes_ratio_with_no_renaming(ui: Ui, page: Page) -> None:
    chosen = f"runs={quote(json.dumps(ui.ok))}&experiments={quote(json.dumps([ui.experiment]))}"
    page.goto(f"{ui.address}/#/compare-runs?{chosen}")
    page.get_by_role("tab", name="Scatter Plot").click(timeout=WAIT)
    for axis, figure in (("x", "bytes_ratio"), ("y", "auc")):
        page.locator(f"#{axis}-axis-selector").click()
        page.get_by_role("option", name=figure, exact=True).click()
        page.locator(f".{axis}title", has_text=figure).wait_for(timeout=WAIT)
    page.locator(".js-plotly-plot canvas, .js-plotly-plot .scatterlayer path").first.wait_for(state="attached")
    page.get_by_role("tab", name="Parallel Coordinates Plot").click()
    page.locator(".js-plotly-plot .parcoords, .js-plotly-plot canvas").first.wait_for(state="attached")


def _report_hangs_on_the_parent_run(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/#/experiments/{ui.experiment}/runs/{ui.parent}/artifacts")
    for name in ("report.html", "plots", "leaderboard.csv", "runs.csv"):
        page.get_by_text(name, exact=True).first.wait_for(timeout=WAIT)
