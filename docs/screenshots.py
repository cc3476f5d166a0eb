"""Take the pictures of report and MLflow UI that the docs show.

usage: screenshots.py SUITE OUT [CHROMIUM]

OUT is the output directory of the suite, with its report and its MLflow records.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

from sharkbench.results.store import Store
from sharkbench.suite.load import load
from sharkbench.tracking import Tracker

IMAGES = Path(__file__).resolve().parent / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 860}


def main(suite: str, out: Path, chromium: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        _report(page, out)
        _mlflow(page, suite, out)
        browser.close()


def _report(page: Page, out: Path) -> None:
    page.goto((out / "report.html").resolve().as_uri())
    page.locator("#training_memory svg.marks").wait_for()
    page.screenshot(path=IMAGES / "report.png")
    page.evaluate("document.querySelector('#plots').scrollIntoView()")
    page.screenshot(path=IMAGES / "report-plots.png")


def _mlflow(page: Page, suite: str, out: Path) -> None:
    tracker = Tracker(load(suite), Store(out))
    runs = [run.info.run_id for run in tracker.client.search_runs([tracker.experiment]) if "auc" in run.data.metrics]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-c", "from sharkbench.cli import main; main()", "ui", suite, "--out", str(out), "--port", str(port)]
    server = subprocess.Popen([sys.executable, *command], start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server)
        page.goto(f"http://127.0.0.1:{port}/#/experiments/{tracker.experiment}/runs")
        page.get_by_role("gridcell").get_by_role("button").nth(1).click(timeout=60_000)
        _close_assistant(page)
        page.wait_for_timeout(3000)
        page.screenshot(path=IMAGES / "mlflow-runs.png", clip={"x": 0, "y": 0, "width": SIZE["width"], "height": 600})
        chosen = f"runs={quote(json.dumps(runs[:60]))}&experiments={quote(json.dumps([tracker.experiment]))}"
        page.goto(f"http://127.0.0.1:{port}/#/compare-runs?{chosen}")
        page.get_by_role("tab", name="Scatter Plot").click(timeout=60_000)
        _close_assistant(page)
        for axis, figure in (("x", "bytes_ratio"), ("y", "auc")):
            page.locator(f"#{axis}-axis-selector").click()
            page.get_by_role("option", name=figure, exact=True).click()
        page.wait_for_timeout(3000)
        page.screenshot(path=IMAGES / "mlflow-compare.png")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _close_assistant(page: Page) -> None:
    """MLflow opens it beside everything at first."""
    button = page.get_by_role("button", name="Close").last
    if button.count():
        button.click(timeout=10_000)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    sys.exit("the MLflow UI has ended; its messages are above")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    found = sys.argv[3] if len(sys.argv) > 3 else shutil.which("chromium") or shutil.which("google-chrome")
    main(sys.argv[1], Path(sys.argv[2]), found or sys.exit("no Chromium: name one as the third argument"))
