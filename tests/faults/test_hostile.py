# ruff: noqa: E501
"""Suites, data and artifacts from strangers: nothing is executed, nothing outside the stated folders is touched."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sharkbench import leaderboard
from sharkbench.cli.app import app
from sharkbench.cli.reporting import ui
from sharkbench.data.prepare import prepare, prepared_path
from sharkbench.errors import ArtifactError, SharkbenchError
from sharkbench.files.durable import write_text
from sharkbench.leaderboard.claims import findings_of, write_claims
from sharkbench.leaderboard.report import write_report
from sharkbench.model import artifact
from sharkbench.results.store import Store
from sharkbench.search.conduct import run_search
from sharkbench.search.report import write_report as write_search_report
from sharkbench.suite.claims import Claim
from sharkbench.suite.load import load
from tests.faults.counting import Count
from tests.faults.mutated_data import ADAPTER
from tests.records import a_quality, a_result, an_environment, put

BASE = {"datasets": ["synthetic"], "backbones": ["fm"], "methods": ["full"]}
EVIL = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "{{ 7*7 }}",
    "=HYPERLINK(\"http://x\")", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "'); DROP TABLE runs; --", "\u202egnp.exe",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../out", "/tmp/out", "a/b", "..", ".", ".hidden", "a\0b", "a\nb", "~root", "x" * 300]
)
def test_a_suite_s_name_stays_a_folder_s_name(name: str, count: Count) -> None:
    with pytest.raises(SharkbenchError):
        load({"name": name, **BASE})
    count("names that would leave the output folder: refused")


@pytest.mark.parametrize("key", ["..", "../../etc", "a/b", "", "/etc", "a\0b"])
def test_a_run_s_key_stays_in_its_folder(key: str, tmp_path: Path, count: Count) -> None:
    with pytest.raises(ValueError, match="not the key"):
        Store(tmp_path).directory(key)
    count("names that would leave the output folder: refused")


def test_a_link_in_the_store_is_not_followed(tmp_path: Path, count: Count) -> None:
    """Neither read as a run nor swept through."""
    outside = tmp_path / "outside"
    put(Store(outside), a_result())
    (tmp_path / "out" / "runs").mkdir(parents=True)
    store = Store(tmp_path / "out")
    (store.runs / "0123456789abcdef0123").symlink_to(outside / "runs" / "0123456789abcdef0123")
    (store.runs / ".tmp-aaa-1-bbb").symlink_to(outside)
    assert store.results() == []
    store.sweep()
    assert len(Store(outside).results()) == 1
    count("links in a store: not followed")


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "socket"])
def test_what_is_no_file_is_not_read(kind: str, tmp_path: Path, count: Count) -> None:
    place = tmp_path / "d.csv"
    if kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        import socket

        socket.socket(socket.AF_UNIX).bind(str(place))
    else:
        place.mkdir()
    for attempt in (
        lambda: prepare(ADAPTER.validate_python({"source": "csv", "path": str(place), "labels": "y"}), tmp_path),
        lambda: artifact.load(place),
        lambda: load(place.rename(place.with_suffix(".yaml")) if not place.with_suffix(".yaml").exists() else place),
    ):
        with pytest.raises(SharkbenchError) as refused:
            attempt()
        assert "\n" not in str(refused.value)
    count("devices, pipes, sockets, folders in place of files: refused, not waited for")


@pytest.mark.parametrize(
    "text",
    [
        "x: !!python/object/apply:os.system [touch ran]",
        "x: !!python/name:os.system",
        "datasets: [{source: csv, path: '$(touch ran)', labels: y}]",
        "backbones: [__import__('os').system('touch ran')]",
        "methods: [os.system]",
        "methods: [{name: '../../ran'}]",
        "extends: ../../../../etc/passwd",
        "extends: /dev/zero",
    ],
)
def test_a_suite_executes_nothing(text: str, tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = text.partition(":")[0]
    lines = [text, *(f"{k}: {v}" for k, v in {k: f"[{v[0]}]" for k, v in BASE.items()}.items() if k != key)]
    (tmp_path / "s.yaml").write_text("\n".join(lines) + "\n")
    done = CliRunner().invoke(app, ["plan", "s.yaml", "--cache", "cache"])
    assert done.exit_code == 2
    assert not (tmp_path / "ran").exists()
    count("suites that try to execute: refused, nothing ran")


class Tags(HTMLParser):
    """Elements and attributes of a page, and what its text says."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def evil_store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "out")
    for number, evil in enumerate(EVIL):
        good = a_quality(auc=0.7)
        texts = {"method_label": f"{evil}", "dataset": f"{evil} d", "backbone": f"{evil} b", "suite": f"{evil}"}
        shared = {
            "bytes_by_field": {evil: 8},
            "bytes_by_format": {evil: 8},
            "formats": [evil],
            "method_config": {evil: evil},
        }
        put(
            store,
            a_result(
                f"{number:020d}",
                quality={evil or "y": good},
                bytes=8,
                bytes_ratio=0.5,
                fp32_bytes=16,
                **texts,
                **shared,
            ),
            an_environment(),
        )
        write_text(store.directory(f"{number:020d}") / "notes.json", json.dumps({"scores": [{"field": evil}]}))
        put(store, a_result(f"{number + 500:020d}", status="failed", kind="method", reason=evil, **texts))
    return store


def assert_harmless(page: str) -> None:
    """No element, no script and no link but those that the page has of its own."""
    tags = Tags()
    tags.feed(page)
    assert not [1 for tag, attributes in tags.found for name, _ in attributes if name.startswith("on")]
    assert not [tag for tag, attributes in tags.found if tag == "img" and ("src", "x") in attributes]
    assert "<script>alert" not in page
    assert not [
        value
        for _, attributes in tags.found
        for name, value in attributes
        if "javascript:" in (value or "").lower() and name in ("href", "src")
    ]


def assert_no_formula(file: Path) -> None:
    for line in csv.reader(file.open()):
        for cell in line:
            number = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)
            assert number or not cell.lstrip().startswith(("=", "+", "-", "@")), (file, cell)


def test_names_are_data_in_the_report_and_in_tables(tmp_path: Path, count: Count) -> None:
    store = evil_store(tmp_path)
    leaderboard.write(store.out)
    write_report(store, load({"name": "s", **BASE, "description": EVIL[0]}), store.out, {})
    claims = [Claim(says=evil, method=evil, against=(evil,), figure=f"note:{evil}.{evil}", at_least=0) for evil in EVIL]
    write_claims(store.out / "claims.csv", findings_of(store, claims))
    page = (store.out / "report.html").read_text()
    assert "Content-Security-Policy" in page
    assert_harmless(page)
    count("report: names, labels and reasons are data, no element and no script of theirs", len(EVIL))
    assert {file.name for file in store.out.glob("*.csv")} == {"leaderboard.csv", "runs.csv", "claims.csv"}
    for file in store.out.glob("*.csv"):
        assert_no_formula(file)
        count("CSV tables: no cell that a spreadsheet would run")


def test_names_are_data_in_what_a_search_writes(tmp_path: Path, count: Count) -> None:
    """Labels, the data set, and the reason of the method whose runs all fail; the other runs are faked."""
    labels = [evil for evil in EVIL if evil.isprintable() or "\u202e" in evil]
    methods = [{"name": "hash", "threshold": number, "as": evil} for number, evil in enumerate(labels)]
    data = {"source": "synthetic", "rows": 1000, "name": EVIL[4]}
    search = {"modes": ["per_budget"], "trials": 2, "retrain": False}
    more = {"budgets": [0.3], "measure": {"lookup": False}, "tracking": {"enabled": False}, "search": search}
    suite = load({"name": "s", **BASE, "datasets": [data], "methods": ["full", *methods, "qr"], **more})
    prepared_path(suite.datasets[0].spec, tmp_path / "cache").mkdir(parents=True)
    searched = run_search(
        suite, tmp_path / "out", jobs=2, cache_dir=tmp_path / "cache", on_event=lambda event: None,
        execute="tests.faults.broken:formula_in_qr", measure="tests.search.fakes:measure",
    )  # fmt: skip
    page, *others = write_search_report(searched)
    assert_harmless(page.read_text())
    tables = {file.name: file for file in others if file.suffix == ".csv"}
    # Of the method that fails, the first trial has the usual rate.
    assert len(tables["chosen.csv"].read_text().splitlines()) == 1 + len(["full", *labels, "qr"])
    assert "cmd|" in tables["trials.csv"].read_text()
    for file in tables.values():
        assert_no_formula(file)
    assert all(file.resolve().is_relative_to(searched.folder.resolve()) for file in others)
    count("search reports and tables: names are data, no cell that a spreadsheet would run", len(labels))


def test_the_ui_listens_on_the_loopback_only(tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    from sharkbench.cli import reporting

    commands: list[list[str]] = []
    monkeypatch.setattr(reporting, "_until_interrupted", lambda command: commands.append(command) or 0)
    suite = tmp_path / "s.yaml"
    suite.write_text("\n".join(f"{key}: [{value[0]}]" for key, value in BASE.items()) + "\n")
    (tmp_path / "mlflow.db").touch()
    ui(str(suite), None, tmp_path, 45871)
    [command] = commands
    assert command[command.index("--host") + 1] == "127.0.0.1"
    count("the MLflow UI: on the loopback only")


@pytest.mark.faults
def test_a_password_in_a_tracking_uri_is_written_nowhere(tmp_path: Path, count: Count) -> None:
    """Nothing answers at the address: whatever is said of it, in files or on the terminal, does not hold the secret."""
    from tests.faults.small_suite import Folder

    secret = "s3cr3t-passw0rd"
    uri = f"http://user:{secret}@127.0.0.1:9/path?token={secret}"
    folder = Folder(tmp_path / "work", methods=["full"], seeds=1, tracking={"enabled": True, "uri": uri})
    surroundings = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    code, said = folder.run(**surroundings)
    assert code == 0, said
    assert "could not record" in said
    _, tracked = folder.run(command="track", **surroundings)
    report, told = folder.run(command="report", **surroundings)
    assert report == 0, told
    assert secret not in said + tracked + told
    holding = [str(file) for file in folder.out.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert holding == []
    count("a password in a tracking address: in no file, no message")


def test_nothing_is_unpickled_when_an_artifact_is_loaded(tmp_path: Path, count: Count) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    for name in (artifact.PACKED, artifact.BACKBONE):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ArtifactError):
        artifact.load(tmp_path)
    assert not (tmp_path / "ran").exists()
    count("pickles in place of artifacts: refused, nothing ran")


def test_nothing_in_the_package_unpickles() -> None:
    found = subprocess.run(
        ["grep", "-rnE", r"pickle\.load|torch\.load\(|joblib|allow_pickle|yaml\.load\(|\beval\(|\bexec\(", "sharkbench", "methods"],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    ).stdout.splitlines()  # fmt: skip
    # The check of formats reads back what it has just written itself.
    harmless = ("weights_only=True", ".eval(", "pickle.loads(pickle.dumps(layer))")
    plain = [line for line in found if ".py:" in line and not any(part in line for part in harmless)]
    assert plain == [], plain
    assert sys.version_info >= (3, 11)
