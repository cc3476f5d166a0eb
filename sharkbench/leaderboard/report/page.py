"""The report as one HTML file that needs no network.

Everything that somebody chose (names, labels, reasons, settings) is data: the template escapes it, the numbers behind
the plots are JSON that cannot close its element, and the page's own policy runs no script but the two that were put
into it here, fetches nothing, and submits nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sharkbench.leaderboard import figures
from sharkbench.leaderboard.aggregate import summaries
from sharkbench.leaderboard.claims import Finding
from sharkbench.leaderboard.columns import distinct, metrics_of
from sharkbench.leaderboard.published import Comparison
from sharkbench.leaderboard.report import charts, content, series
from sharkbench.leaderboard.report.bundle import bundle
from sharkbench.leaderboard.report.rows import (
    WIDTH,
    Heading,
    Row,
    headings,
    position,
    row_of,
    run_entries,
    run_headings,
)
from sharkbench.leaderboard.standings import Standing
from sharkbench.results.metrics import primary_of

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_ROLE = re.compile(r":[a-z]+:`([^`]+)`")
_EQUATION = re.compile(r"^\.\. math::((?:.+\n?)+)\n*", re.MULTILINE)


def render(
    title: str,
    description: str,
    standings: Sequence[Standing],
    pages: Sequence[content.MethodPage],
    published: Sequence[Comparison],
    claims: Sequence[Finding],
    kept: Path | None = None,
) -> str:
    """The HTML of the whole report; ``kept`` is where :func:`bundle` keeps its script."""
    tasks = metrics_of(standing.cell for standing in standings)
    shown = headings(tasks)
    rows = {standing.cell.name: row_of(standing, shown) for standing in standings}
    titles = " or ".join(metric.title for metric in distinct(tasks, lambda metric: metric.primary))
    assets = resources.files(__package__) / "assets"
    script_of_plots = bundle(kept)
    script = (assets / "report.js").read_text(encoding="utf-8")
    runs = content.runs_of(standing.cell for standing in standings)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"arxiv": link_arxiv, "plain": plain, "prose": prose}
    template = environment.from_string((assets / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        description=description,
        policy=_policy([script_of_plots, script]),
        style=Markup((assets / "report.css").read_text(encoding="utf-8")),
        bundle=Markup(script_of_plots),
        script=Markup(script),
        data=embedded(_data(standings, pages)),
        facts=[(term, values) for term, values in content.facts(runs) if values],
        warnings=content.warnings(runs),
        headings=shown,
        rows=list(rows.values()),
        row_of=rows,
        constant=constant(list(rows.values()), shown),
        metric=titles,
        run_headings=run_headings(titles),
        anchors={page.label: page.anchor for page in pages},
        choices=[
            (i, h.text, _values(row.entries[i].text for row in rows.values()))
            for i, h in enumerate(shown)
            if h.filtered
        ],
        ticks=[
            (position(value), text)
            for value, text in (
                (-0.1, "-.1"),
                (-0.01, "-.01"),
                (-0.001, ""),
                (0, "0"),
                (0.001, ""),
                (0.01, "+.01"),
                (0.1, "+.1"),
            )
        ],
        interval_width=WIDTH,
        summaries=[
            (task, primary_of(metrics), summaries([s for s in standings if s.section.task == task]))
            for task, metrics in tasks.items()
        ],
        several=len(tasks) > 1,
        sections=[
            (i, series.section_title(section, named=len(tasks) > 1))
            for i, section in enumerate(series.by_section(standings))
        ],
        published=published,
        claims=claims,
        failures=content.failures(runs),
        pages=pages,
        figures=figures,
    )


def constant(rows: Sequence[Row], shown: Sequence[Heading]) -> dict[str, str]:
    """Columns that say the same in every row, and what; they are said once above the table, and hidden in it."""
    if len(rows) < 2:
        return {}
    texts = {heading.name: {row.entries[i].text for row in rows} for i, heading in enumerate(shown)}
    return {name: found.pop() for name, found in texts.items() if len(found) == 1 and name != "method"}


def _values(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _data(standings: Sequence[Standing], pages: Sequence[content.MethodPage]) -> dict[str, Any]:
    methods = sorted({standing.cell.name.method for standing in standings})
    sections, places = [], {}
    for section, members in series.by_section(standings).items():
        full = series.full_value(members)
        place = json.dumps([*section[:3], section.task])  # what is the same for every label
        if place not in places:
            records, fields = series.places(members)
            places[place] = {"records": records, "fields": fields, "chart": charts.bytes_by_field(fields)}
        sections.append(
            {
                "cells": series.points(members),
                "full": [] if full is None else [{"value": full}],
                "place": place,
                "task": section.task,
            }
        )
    return {
        "sections": sections,
        "places": places,
        "charts": {
            task: {
                "quality_bytes": charts.quality_bytes(methods, primary_of(metrics)),
                "quality_lookups": charts.quality_lookups(methods, primary_of(metrics)),
                "training_time": charts.training_time(),
                "training_memory": charts.training_memory(),
                "path_bytes": charts.path_bytes(primary_of(metrics)),
                "path_fields": charts.path_fields(primary_of(metrics)),
                "scores": charts.scores(),
                "tiers": charts.tiers(),
            }
            for task, metrics in metrics_of(standing.cell for standing in standings).items()
        },
        "notes": {
            f"{page.anchor}-note-{i}": {"task": note.task, "charts": note.charts, "rows": note.rows}
            for page in pages
            for i, note in enumerate(page.notes)
            if note.charts
        },
        "runs": {page.anchor: [run_entries(run) for run in page.runs] for page in pages},
    }


def embedded(data: Any) -> Markup:
    """JSON for a ``<script type="application/json">``, which no text in it can end; what is not finite is null."""
    text = json.dumps(_finite(data), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


def _policy(scripts: Iterable[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def link_arxiv(text: str) -> Markup:
    """The text of a paper, with arXiv numbers as links."""
    escaped = str(Markup.escape(text))
    return Markup(_ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', escaped))


def prose(text: str) -> Markup:
    """A docstring as it is read: roles as the code that they name, equations as blocks of their own."""
    text = str(Markup.escape(text))
    text = _EQUATION.sub(lambda found: f'<code class="formula">{" ".join(found[1].split())}</code>\n', text)
    return Markup(_ROLE.sub(lambda found: f"<code>{found[1].removeprefix('~')}</code>", text))


def plain(value: Any) -> str:
    """A value of a noted table."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
