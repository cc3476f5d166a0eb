"""The plots, as Vega-Lite specifications; the report draws them interactively, papers get them as images.

A specification reads the data sets that its name stands for in :class:`Section`; colours and shapes of methods are the
same in all of them, distinguishable without seeing colours (hues of Okabe and Ito, and a shape for each method).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharkbench.results.metrics import Metric

Spec = dict[str, Any]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VERSION = "6.4"
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_GREY = "#767676"
_CONFIG: Spec = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e4e4e4"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "symbolSize": 90, "labelLimit": 260, "symbolLimit": 60},
}


def _chart(description: str, layers: list[Spec], **changes: Any) -> Spec:
    return {
        "$schema": _SCHEMA,
        "description": description,
        "width": "container",
        "height": 360,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
        "data": {"name": "cells"},
        "layer": layers,
        **changes,
    }


def _methods(methods: Sequence[str]) -> Spec:
    """Colour and shape by method, with a legend on which methods can be picked out."""
    hues = [_HUES[i % len(_HUES)] for i in range(len(methods))]
    shapes = [_SHAPES[i % len(_SHAPES)] for i in range(len(methods))]
    common = {"field": "method", "type": "nominal", "title": None}
    return {
        "color": {**common, "scale": {"domain": list(methods), "range": hues}},
        "shape": {**common, "scale": {"domain": list(methods), "range": shapes}},
        "opacity": {"condition": {"param": "picked", "value": 1}, "value": 0.12},
    }


_PICK: Spec = {"name": "picked", "select": {"type": "point", "fields": ["method"]}, "bind": "legend"}


def _value(metric: Metric) -> Spec:
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"zero": False, "nice": True},
        "title": f"test {metric.title}",
        "axis": {"format": f".{metric.digits}~f"},
    }


def _tip(metric: Metric) -> list[Spec]:
    return [
        {"field": "method", "title": "method"},
        {"field": "budget", "title": "budget"},
        {"field": "size", "title": "bytes"},
        {"field": "value", "title": metric.title, "format": f".{metric.digits}f"},
        {"field": "difference", "title": "to fp32"},
        {"field": "lookups", "title": "lookups, relative to fp32", "format": ".2f"},
    ]


def _log(field: str, title: str, form: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"format": form, "tickCount": 6},
        "title": title,
    }


def _full_line(y: Spec) -> Spec:
    return {
        "data": {"name": "full"},
        "mark": {"type": "rule", "strokeDash": [5, 4], "color": _GREY, "tooltip": "full precision"},
        "encoding": {"y": y},
    }


def quality_bytes(methods: Sequence[str], metric: Metric) -> Spec:
    """The metric against bytes: a line per method, 95% intervals of the difference to fp32, the front, what failed."""
    look, x = _methods(methods), _log("bytes_ratio", "bytes, relative to the fp32 table", ".2~%")
    y, tip, ok = _value(metric), _tip(metric), {"filter": "isValid(datum.value)"}
    return _chart(
        f"Test {metric.title} against bytes relative to the fp32 table, by method.",
        [
            _full_line(y),
            {
                "transform": [ok, {"filter": "datum.front"}],
                "mark": {"type": "line", "interpolate": "step-after", "color": "#bbbbbb", "strokeWidth": 5},
                "encoding": {"x": x, "y": y},
            },
            {
                "transform": [ok, {"filter": "isValid(datum.low)"}],
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                    "color": look["color"],
                    "opacity": look["opacity"],
                },
            },
            {
                "transform": [ok],
                "mark": {"type": "line", "strokeWidth": 1.2},
                "encoding": {"x": x, "y": y, "color": look["color"], "opacity": look["opacity"]},
            },
            {
                "transform": [ok],
                "params": [_PICK],
                "mark": {"type": "point", "filled": True, "size": 90},
                "encoding": {"x": x, "y": y, "tooltip": tip, **look},
            },
            {
                "transform": [{"filter": "!isValid(datum.value) && isValid(datum.bytes_ratio)"}],
                "mark": {"type": "text", "text": "✕", "fontSize": 14, "dy": -8},
                "encoding": {
                    "x": x,
                    "y": {"value": "height"},
                    "color": look["color"],
                    "opacity": look["opacity"],
                    "tooltip": [*tip[:2], {"field": "status", "title": "status"}],
                },
            },
        ],
    )


def quality_lookups(methods: Sequence[str], metric: Metric) -> Spec:
    """The metric against lookups per second relative to fp32."""
    look, y = _methods(methods), _value(metric)
    return _chart(
        f"Test {metric.title} against lookups per second relative to the fp32 table, by method.",
        [
            _full_line(y),
            {
                "transform": [{"filter": "isValid(datum.value) && isValid(datum.lookups)"}],
                "params": [_PICK],
                "mark": {"type": "point", "filled": True, "size": 90},
                "encoding": {
                    "x": _log("lookups", "lookups per second, relative to the fp32 table", ".2~f"),
                    "y": y,
                    "tooltip": _tip(metric),
                    **look,
                },
            },
        ],
    )


def _bars(description: str, field: str, title: str, **changes: Any) -> Spec:
    row = {"field": "row", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 240}}
    x = {"field": field, "type": "quantitative", "title": title, "axis": {"format": "~s", "tickCount": 6}}
    tip = [{"field": "row", "title": "method"}, {"field": field, "title": title, "format": ",.4~r"}]
    bars = {
        "transform": [{"filter": f"isValid(datum.{field})"}],
        "mark": {"type": "bar", "color": _HUES[0]},
        "encoding": {"y": row, "x": x, "tooltip": tip, **changes},
    }
    return _chart(description, [bars], data={"name": "places"})


def bytes_by_field(fields: Sequence[str]) -> Spec:
    """What each method spends its bytes on; ``fields`` are the named ones, in the order of their colours."""
    hues = [_HUES[i % len(_HUES)] if name != OTHER else "#c8c8c8" for i, name in enumerate(fields)]
    return _bars(
        "Bytes of the packed table by field.",
        "bytes",
        "bytes",
        color={"field": "field", "type": "nominal", "title": "field", "scale": {"domain": list(fields), "range": hues}},
        order={"field": "order", "type": "quantitative"},
        tooltip=[
            {"field": "row", "title": "method"},
            {"field": "field", "title": "field"},
            {"field": "bytes", "title": "bytes", "format": ",d"},
            {"field": "formats", "title": "formats"},
        ],
    )


OTHER = "all others"


def training_time() -> Spec:
    return _bars("Training time by method.", "seconds", "seconds of training, all stages")


def training_memory() -> Spec:
    return _bars("Peak memory in training by method.", "peak", "peak memory in training, bytes")


def path_bytes(metric: Metric) -> Spec:
    """The way of a method that shrinks a model step by step: the metric against bytes after each step."""
    return _path(metric, "bytes", _log("bytes_ratio", "bytes, relative to the fp32 table", ".2~%"))


def path_fields(metric: Metric) -> Spec:
    """The same way, the metric against the number of fields that are left."""
    axis = {"tickMinStep": 1, "format": "d"}
    scale = {"zero": False, "padding": 12}
    x = {"field": "fields", "type": "quantitative", "title": "fields", "axis": axis, "scale": scale}
    return _path(metric, "fields", x)


def _path(metric: Metric, what: str, x: Spec) -> Spec:
    y = {**_value(metric), "field": metric.name, "title": f"validation {metric.title}"}
    line = {
        "mark": {"type": "line", "point": True, "color": _HUES[0]},
        "encoding": {"x": x, "y": y, "order": {"field": "step"}},
    }
    tip = [
        {"field": "step", "title": "step"},
        {"field": "fields", "title": "fields left"},
        {"field": "bytes_ratio", "title": "bytes, relative to fp32", "format": ".2%"},
        {"field": metric.name, "title": metric.title, "format": f".{metric.digits}f"},
        {"field": "dropped", "title": "dropped"},
    ]
    points = {"mark": {"type": "point", "size": 120, "opacity": 0}, "encoding": {"x": x, "y": y, "tooltip": tip}}
    return _chart(f"{metric.title} against {what} after each step.", [line, points], data={"name": "rows"}, height=240)


def scores() -> Spec:
    """Each field's score, from top to bottom as noted down; where there are several rounds, later ones are ticks."""
    encoding = {
        "y": {"field": "field", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 240}},
        "x": {"field": "score", "type": "quantitative", "title": "score", "axis": {"format": "~g", "tickCount": 6}},
        "tooltip": [
            {"field": "field", "title": "field"},
            {"field": "round", "title": "round"},
            {"field": "rank", "title": "rank"},
            {"field": "score", "title": "score", "format": ".4~g"},
        ],
    }
    first = {"joinaggregate": [{"op": "min", "field": "round", "as": "first"}]}
    bars = {
        "transform": [first, {"filter": "!isValid(datum.round) || datum.round === datum.first"}],
        "mark": {"type": "bar", "color": _HUES[0]},
        "encoding": encoding,
    }
    ticks = {
        "transform": [first, {"filter": "datum.round > datum.first"}],
        "mark": {"type": "tick", "color": _HUES[1], "thickness": 2, "opacity": 1},
        "encoding": encoding,
    }
    return _chart("Score of each field; ticks are later rounds.", [bars, ticks], data={"name": "rows"})


def tiers() -> Spec:
    """What share of each field's rows got which precision."""
    tip = [
        {"field": "field", "title": "field"},
        {"field": "tier", "title": "precision"},
        {"field": "share_of_rows", "title": "share of rows", "format": ".1%"},
        {"field": "share_of_traffic", "title": "share of lookups", "format": ".1%"},
    ]
    encoding = {
        "y": {"field": "field", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 240}},
        "x": {"field": "share_of_rows", "type": "quantitative", "title": "share of rows", "axis": {"format": "~%"}},
        "color": {
            "field": "tier",
            "type": "nominal",
            "title": "precision",
            "sort": None,
            "scale": {"range": list(_HUES)},
        },
        "order": {"field": "place", "type": "quantitative"},
        "tooltip": tip,
    }
    # From left to right, and in the legend, as they were noted down.
    places = [{"window": [{"op": "row_number", "as": "place"}]}]
    layers = [{"transform": places, "mark": "bar", "encoding": encoding}]
    return _chart("Share of each field's rows by precision.", layers, data={"name": "rows"})
