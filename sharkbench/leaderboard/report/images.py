"""The main plots as images for papers: PNG and SVG, a file per data set, split and label, a panel per backbone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from sharkbench.files.durable import replacing, write_text
from sharkbench.leaderboard.report import charts, series
from sharkbench.leaderboard.standings import Section, Standing

_PANEL = 330
_KINDS = ("bytes", "lookups")
"""What a metric is drawn against."""


def write_images(standings: Sequence[Standing], folder: Path) -> list[Path]:
    """Write ``<metric>_bytes-*`` and ``<metric>_lookups-*`` into ``folder``, replacing those of an earlier report."""
    folder.mkdir(parents=True, exist_ok=True)
    methods = sorted({standing.cell.name.method for standing in standings})
    panels: dict[tuple[str, str, str, str], dict[Section, list[Standing]]] = {}
    for section, members in series.by_section(standings).items():
        panels.setdefault((section.dataset, section.split, section.label, section.task), {})[section] = members
    names = _names(panels)
    paths = [path for key, sections in panels.items() for path in _figures(methods, sections, folder, names[key])]
    kinds = [f"*_{kind}-*.{form}" for kind in _KINDS for form in ("png", "svg")]
    for old in {file for kind in kinds for file in folder.glob(kind)} - set(paths):
        old.unlink()
    return paths


def _figures(
    methods: Sequence[str], sections: dict[Section, list[Standing]], folder: Path, name: str
) -> Iterator[Path]:
    metric = next(iter(sections.values()))[0].cell.metric
    for kind, chart, needed in (
        (f"{metric.name}_bytes", charts.quality_bytes(methods, metric), ("value",)),
        (f"{metric.name}_lookups", charts.quality_lookups(methods, metric), ("value", "lookups")),
    ):
        panels = [panel for section, members in sections.items() if (panel := _panel(chart, section, members, needed))]
        if panels:
            spec = {"$schema": chart["$schema"], "config": chart["config"], "background": "white", "hconcat": panels}
            png, svg = folder / f"{kind}-{name}.png", folder / f"{kind}-{name}.svg"
            drawing = vl_convert.vegalite_to_svg(spec, vl_version=charts.VERSION)
            # The same drawing has its pixels already: while a suite runs, most of them are as they were.
            if not (png.exists() and svg.exists() and svg.read_text(encoding="utf-8") == drawing):
                with replacing(png) as partial:
                    partial.write_bytes(vl_convert.svg_to_png(drawing, scale=2))
                write_text(svg, drawing)  # last: it says that both are there
            yield from (png, svg)


def _panel(
    chart: charts.Spec, section: Section, members: Sequence[Standing], needed: Iterable[str]
) -> dict[str, Any] | None:
    cells = series.points(members)
    if not any(all(cell[name] is not None for name in needed) for cell in cells):
        return None
    full = series.full_value(members)
    data = {"cells": cells, "full": [] if full is None else [{"value": full}]}
    layers = [_still(layer, data) for layer in chart["layer"]]
    title = f"{section.dataset}, {section.backbone}" + (f", {section.label}" if section.label else "")
    return {"width": _PANEL, "height": _PANEL * 0.8, "title": title, "data": {"values": cells}, "layer": layers}


def _still(layer: charts.Spec, data: dict[str, Any]) -> charts.Spec:
    """The layer with its data, without what only a pointer can use."""
    encoding = {name: value for name, value in layer["encoding"].items() if name not in ("opacity", "tooltip")}
    own = {"data": {"values": data[layer["data"]["name"]]}} if "data" in layer else {}
    return {**{name: value for name, value in layer.items() if name != "params"}, "encoding": encoding, **own}


def _names(keys: Iterable[tuple[str, str, str, str]]) -> dict[tuple[str, str, str, str], str]:
    """By data set, split, label and task, a file name for each, of letters, digits, ``-``, ``_`` and ``.``; those that
    would be the same get a number."""
    names: dict[tuple[str, str, str, str], str] = {}
    for key in keys:
        plain = re.sub(r"[^\w.-]+", "_", "-".join(part for part in key[:3] if part), flags=re.ASCII)[:100].strip(".")
        name, number = plain, 1
        while name in names.values():
            number += 1
            name = f"{plain}-{number}"
        names[key] = name
    return names
