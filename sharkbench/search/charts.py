"""History and Pareto front as static images for the report, in the style of the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharkbench.results.metrics import Metric
from sharkbench.search.pareto import Pareto
from sharkbench.search.study import Search

_VERSION = "6.4"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_CONFIG = {"font": "system-ui, sans-serif", "view": {"stroke": None}, "axis": {"gridColor": "#e4e4e4"}}


def history(search: Search) -> str:
    """SVG: the primary metric on validation by trial, with the best so far as a line; empty where no trial is ok."""
    rows, best = [], None
    for trial in sorted(search.finished, key=lambda trial: trial.number):
        if trial.outcome.status != "ok":
            continue
        value = trial.outcome.value
        best = value if best is None else max(best, value, key=search.metric.score)
        rows.append({"trial": trial.number, "value": value, "best": best, "bytes": trial.outcome.bytes_ratio})
    if len(rows) < 2:
        return ""
    if search.mode == "lossless":
        return _svg(rows, [_points(search.metric, "bytes", "bytes, relative to fp32", log=True)])
    title = f"validation {search.metric.title}"
    y = {"field": "best", "type": "quantitative", "scale": {"zero": False}, "title": title}
    line = {
        "mark": {"type": "line", "interpolate": "step-after", "color": "#bbbbbb"},
        "encoding": {"x": {"field": "trial", "type": "quantitative"}, "y": y},
    }
    return _svg(rows, [line, _points(search.metric, "trial", "trial", log=False)])


def fronts(searches: Sequence[Pareto]) -> str:
    """SVG: the fronts of the methods of one cell, the primary metric against bytes; empty where there is none."""
    rows = [
        {"method": search.entry.label, "value": trial.outcome.value, "bytes": trial.outcome.bytes_ratio}
        for search in searches
        for trial in search.front()
    ]
    if not rows:
        return ""
    encoding = {
        **_points(searches[0].metric, "bytes", "bytes, relative to fp32", log=True)["encoding"],
        "color": {"field": "method", "type": "nominal", "title": None},
    }
    return _svg(rows, [{"mark": {"type": "line", "point": True, "interpolate": "step-after"}, "encoding": encoding}])


def _points(metric: Metric, field: str, title: str, *, log: bool) -> dict[str, Any]:
    scale = {"scale": {"type": "log", "padding": 12}, "axis": {"format": ".2~%"}} if log else {}
    return {
        "mark": {"type": "point", "filled": True, "color": "#0072B2", "size": 60},
        "encoding": {
            "x": {"field": field, "type": "quantitative", "title": title, **scale},
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"zero": False},
                "title": f"validation {metric.title}",
            },
        },
    }


def _svg(rows: list[dict[str, Any]], layers: list[dict[str, Any]]) -> str:
    import vl_convert

    chart = {
        "$schema": _SCHEMA,
        "config": _CONFIG,
        "width": 420,
        "height": 220,
        "data": {"values": rows},
        "layer": layers,
    }
    drawing: str = vl_convert.vegalite_to_svg(chart, vl_version=_VERSION)
    return drawing
