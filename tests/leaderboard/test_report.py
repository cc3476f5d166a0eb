"""The report's file: complete without a network, and nothing that somebody chose becomes markup or script."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import vl_convert

from sharkbench.cli.report import method_cards
from sharkbench.leaderboard.report import charts, write_report
from sharkbench.leaderboard.report.cards import MethodCard
from sharkbench.leaderboard.report.images import _names
from sharkbench.leaderboard.report.page import embedded, link_arxiv, prose
from sharkbench.leaderboard.report.rows import WIDTH, position, run_headings
from sharkbench.results.archive import opened
from sharkbench.results.store import Store
from sharkbench.suite.model import Suite
from sharkbench.tasks.ctr import Ctr
from tests.leaderboard.plausible import fill

AddRun = Callable[..., str]
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"' {{7*7}} &amp; `x` $(y)"


class _Elements(HTMLParser):
    """Every element with its attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.text.append(data)


def suite(name: str = "plausible", **changes: Any) -> Suite:
    settings: dict[str, Any] = {
        "name": name,
        "description": "A <i>demo</i>",
        "datasets": [{"source": "synthetic", "name": "kuairand"}],
        "backbones": ["deepfm"],
        "methods": ["full", "qr", "hash"],
        "budgets": [0.5],
        "references": [{"dataset": "kuairand", "backbone": "deepfm", "value": 0.75, "source": "a <b>paper</b>"}],
        "claims": [{"says": "qr beats <hash>", "method": "qr", "against": "hash", "at_least": 0, "budgets": 0.25}],
    }
    return Suite.model_validate({**settings, **changes})


@pytest.fixture(scope="module")
def plausible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plausible")
    fill(Store(out))
    write_report(Store(out), suite(), out, method_cards())
    return out


def test_the_file_is_whole_small_and_fetches_nothing(plausible: Path) -> None:
    text = (plausible / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    page = _Elements(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"iframe", "object", "embed", "base", "img", "audio", "video"}
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        if tag == "link":
            assert attributes["href"] == "data:,"
        if tag == "a" and not (attributes["href"] or "").startswith("#"):
            assert (attributes["href"] or "").startswith("https://arxiv.org/abs/")
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(a["content"] or "" for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy
    assert len(page.scripts) == 3


def test_everything_has_its_place(plausible: Path) -> None:
    page = _Elements((plausible / "report.html").read_text(encoding="utf-8"))
    said = " ".join(" ".join(page.text).split())
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"summary", "leaderboard", "plots", "published", "claims", "failures", "about", "methods"} <= ids
    assert "A <i>demo</i>" in said
    assert "a <b>paper</b>" in said
    assert "arXiv:1909.02107" in said
    assert "qr beats <hash> held kuairand deepfm" in said
    assert "out of memory: the process was killed at 7.9 GiB" in said
    assert "fewer than 3 seeds: no interval, no rank" in said
    anchors = [a["href"] for t, a in page.elements if t == "a" and (a.get("href") or "").startswith("#")]
    assert {anchor[1:] for anchor in anchors if anchor} <= ids
    rows = re.findall(r"\d of \d", said)
    assert rows


def test_plots_get_numbers_and_the_front(plausible: Path) -> None:
    page = _Elements((plausible / "report.html").read_text(encoding="utf-8"))
    data = json.loads(page.scripts[0])
    section = data["sections"][0]
    cells = {(cell["method"], cell["budget"]): cell for cell in section["cells"]}
    assert cells["qr", "0.1"]["value"] is None
    assert cells["qr", "0.1"]["bytes_ratio"] == pytest.approx(0.1)
    front = sorted((c["bytes_ratio"], c["value"]) for c in section["cells"] if c["front"])
    assert front == sorted(front, key=lambda point: point[1])
    assert min(c["bytes_ratio"] for c in section["cells"] if c["value"]) == front[0][0]
    for cell in section["cells"]:
        if cell["value"] is not None and not cell["front"]:
            assert any(b <= cell["bytes_ratio"] and a >= cell["value"] for b, a in front)
    place = data["places"][section["place"]]
    full = next(record for record in place["records"] if record["row"] == "full")
    assert len(full["bytes"]) == len(place["fields"])
    assert sum(full["bytes"]) == pytest.approx(3e6, abs=20)
    runs = data["runs"]["method-1"]
    assert {len(run) for run in runs} == {len(run_headings("AUC"))}
    assert len(runs) == 2 * 2 * 3 * 3  # data sets, backbones, budgets, seeds
    drawn = {tuple(note["charts"]) for note in data["notes"].values()}
    assert drawn == {("path_bytes", "path_fields"), ("scores",)}
    assert {chart for names in drawn for chart in names} < data["charts"]["ctr"].keys()


def test_every_number_of_a_noted_table_is_drawn() -> None:
    """Each row of a path is a point of both plots; the first round's scores are bars, later rounds' ticks."""
    path = [{"step": i, "fields": 9 - i, "bytes_ratio": 1 / (i + 1), "auc": 0.7 + 0.01 * i} for i in range(4)]
    by_round = [{"round": r, "field": f"f{i}", "score": 0.1 * i + r} for r in (1, 2) for i in range(5 - r)]
    plain = [{"field": f"f{i}", "score": 0.1 * i - 0.1} for i in range(3)]

    assert _drawn(charts.path_bytes(Ctr().primary), path) == {"point": 2 * 4}  # what is seen, and what a pointer finds
    assert _drawn(charts.path_fields(Ctr().primary), path) == {"point": 2 * 4}
    assert _drawn(charts.scores(), by_round) == {"bar": 4, "tick": 3}
    assert _drawn(charts.scores(), plain) == {"bar": 3}


def _drawn(spec: charts.Spec, rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many marks of each kind a plot of ``rows`` shows."""
    still = {name: value for name, value in spec.items() if name != "autosize"}
    drawing = vl_convert.vegalite_to_svg({**still, "width": 300, "data": {"values": rows}}, vl_version=charts.VERSION)
    return Counter(re.findall(r'aria-roledescription="(point|bar|tick)"', drawing))


def test_the_report_can_be_made_again_from_its_archive_alone(plausible: Path, tmp_path: Path) -> None:
    with opened(plausible / "store.parquet") as store:
        write_report(store, suite(), tmp_path, {})
    first, again = ((path / "report.html").read_text(encoding="utf-8") for path in (plausible, tmp_path))
    board = re.compile(r'<table id="leaderboard-table".*?</table>', re.DOTALL)
    assert board.findall(first) == board.findall(again)
    assert not (tmp_path / "store.parquet").exists()


def test_images_are_there_for_every_data_set(plausible: Path) -> None:
    names = sorted(path.name for path in (plausible / "plots").iterdir())
    assert names == sorted(
        f"{kind}-{data}-is_click.{form}"
        for kind in ("auc_bytes", "auc_lookups")
        for data in ("kuairand-temporal", "synthetic-random")
        for form in ("png", "svg")
    )
    for path in (plausible / "plots").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    for path in (plausible / "plots").glob("auc_bytes*.svg"):
        said = "".join(ElementTree.fromstring(path.read_text(encoding="utf-8")).itertext())
        assert all(method in said for method in ("full", "qr", "f_permutation"))


def test_no_name_becomes_markup_or_script(add_run: AddRun, out: Path) -> None:
    for seed in range(3):
        changes: dict[str, Any] = {
            "dataset": HOSTILE,
            "split": HOSTILE,
            "backbone": HOSTILE,
            "bytes_by_field": {HOSTILE: 10},
            "formats": [HOSTILE],
            "method_config": {HOSTILE: HOSTILE},
        }
        add_run("full", None, seed, {HOSTILE: 0.8}, **changes)
        key = add_run(HOSTILE, 0.1, seed, {HOSTILE: 0.7}, **changes)
        add_run("fails", 0.1, seed, None, status="failed", reason=HOSTILE, **changes)
        note = [{"step": 0, "bytes_ratio": 1.0, "auc": 0.7, HOSTILE: HOSTILE}]
        (out / "runs" / key / "notes.json").write_text(json.dumps({HOSTILE: note, "bad": 3}))
    reference = {"dataset": HOSTILE, "backbone": HOSTILE, "value": 0.8, "source": HOSTILE}
    write_report(
        Store(out),
        suite(description=HOSTILE, references=[reference], claims=[]),
        out,
        {HOSTILE: MethodCard(HOSTILE, HOSTILE, 2020, HOSTILE, HOSTILE)},
    )
    text = (out / "report.html").read_text(encoding="utf-8")
    page = _Elements(text)
    assert "img" not in {tag for tag, _ in page.elements}
    assert len(page.scripts) == 3
    assert "alert(" not in page.scripts[1] + page.scripts[2]
    assert "<" not in page.scripts[0]
    assert "{{7*7}}" in html.unescape(text)
    assert {path.parent for path in (out / "plots").iterdir()} == {out / "plots"}
    for path in (out / "plots").glob("*.svg"):
        ElementTree.fromstring(path.read_text(encoding="utf-8"))


def test_a_store_with_no_ok_run_is_reported_too(add_run: AddRun, out: Path) -> None:
    add_run("hash", 0.1, 0, None, status="failed", kind="timeout", reason="after 5 s")
    write_report(Store(out), suite(references=[], claims=[]), out, {})
    assert "timeout: after 5 s" in (out / "report.html").read_text(encoding="utf-8")


def test_embedded_json_cannot_end_its_element_and_is_finite() -> None:
    text = str(embedded({"a": ["</script><!--", float("nan"), float("inf"), 1.5, "\u2028"]}))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": ["</script><!--", None, None, 1.5, "\u2028"]}


def test_arxiv_numbers_become_links_and_nothing_else_does() -> None:
    linked = link_arxiv("A <b>, KDD 2020, arXiv:1909.02107")
    assert linked == 'A &lt;b&gt;, KDD 2020, <a href="https://arxiv.org/abs/1909.02107">arXiv:1909.02107</a>'


def test_positions_grow_with_the_difference_and_stay_in_the_picture() -> None:
    values = [-1, -0.1, -0.01, -0.001, 0, 0.001, 0.01, 0.1, 1]
    drawn = [position(value) for value in values]
    assert drawn == sorted(drawn)
    assert drawn[4] == WIDTH / 2
    assert drawn[0] > 0
    assert drawn[-1] < WIDTH


def test_image_names_are_plain_and_differ() -> None:
    names = _names([("../../a b", "random", "x"), ("../../a?b", "random", "x"), ("", "", "")])
    assert list(names.values()) == ["_.._a_b-random-x", "_.._a_b-random-x-2", ""]


def test_every_method_has_a_card() -> None:
    cards = method_cards()
    assert (cards["qr"].year, cards["qr"].family) == (2020, "hashing")
    assert "1909.02107" in cards["qr"].paper
    assert all(card.title and card.description for card in cards.values())


def test_what_every_row_says_is_said_once(tmp_path: Path) -> None:
    fill(Store(tmp_path), datasets=["kuairand"], rows=200)
    write_report(Store(tmp_path), suite(), tmp_path, {})
    text = (tmp_path / "report.html").read_text()

    assert "In every row: data set kuairand, split temporal, label is_click" in text
    assert re.search(r'<td class="\s*same">kuairand</td>', text)
    assert not re.search(r'<td class="\s*same">dcnv2</td>', text)


def test_docstrings_are_shown_as_they_are_read() -> None:
    shown = prose("Rows <r> of :func:`~sharkbench.run`.\n\n.. math:: a\n    = b\n\nwith :math:`a`.")

    assert shown == (
        'Rows &lt;r&gt; of <code>sharkbench.run</code>.\n\n<code class="formula">a = b</code>\nwith <code>a</code>.'
    )


def test_an_image_that_has_changed_is_drawn_again_and_one_of_an_earlier_suite_goes(tmp_path: Path) -> None:
    fill(Store(tmp_path), datasets=["kuairand"], rows=200)
    write_report(Store(tmp_path), suite(), tmp_path, {})
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    svg = tmp_path / "plots" / "auc_bytes-kuairand-temporal-is_click.svg"
    svg.write_text("<svg/>")
    svg.with_suffix(".png").write_bytes(b"")
    (tmp_path / "plots" / "auc_bytes-gone.png").write_bytes(b"")
    write_report(Store(tmp_path), suite(), tmp_path, {})

    assert {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()} == drawn
