"""The measured lookup table as Markdown and as a bar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

TARGETS = {
    "fp32": (2.0, 1.2),
    "fp16": (2.1, 2.4),
    "int8": (1.8, 2.8),
    "int4": (1.8, 2.7),
    "tiered 10/20/70": (1.5, 2.0),
    "QR n/100": (4.0, 1.6),
    "shared array 1%": (1.6, 1.1),
    "product, 8 codes": (0.8, 1.1),
    "sparse 10%, bitmap": (0.4, 0.5),
    "tensor train, rank 8": (0.25, 0.2),
}
"""Ratio to ``F.embedding`` fp32 aimed at, for D = 16 and D = 64: batch of 4096, Zipf, one thread."""

Row = Mapping[str, object]


def table(rows: Sequence[Row], hardware: str) -> str:
    """A section per setting, one line per contender."""
    lines = [
        f"# Lookups on {hardware}",
        "",
        "Written by `benchmarks/lookup.py`; `docs/measurement.md` says how to read it.",
        "",
    ]
    for setting in sorted({_setting(row) for row in rows}, key=lambda s: (s[0], -s[1], s[2], s[3])):
        dimension, batch, stream, threads = setting
        lines += [
            f"## D = {dimension}, batch {batch} x 26, {stream}, {threads} thread{'s' * (threads > 1)}",
            "",
            "| | bytes per row | us per call (quartiles) | p50 / p99 | over the bare kernel | M lookups/s "
            "| to `F.embedding` | to bags of one | to our fp32 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            if _setting(row) == setting:
                spread = f"{row['us']} ({row['us_low']} to {row['us_high']})"
                lines.append(
                    f"| {row['contender']} | {row['bytes_per_row']} | {spread} "
                    f"| {row['us_p50']} / {row['us_p99']} | {_percent(row.get('over_kernel'))} "
                    f"| {row['million_lookups_per_second']} "
                    f"| {row['ratio_embedding']} | {row['ratio_embedding_bag']} | {row['ratio_our_fp32']} |"
                )
        lines.append("")
    return "\n".join(lines)


def _percent(share: object) -> str:
    return f"{100 * float(str(share)):+.0f}%" if share not in (None, "") else ""


def _setting(row: Row) -> tuple[int, int, str, int]:
    return int(str(row["dimension"])), int(str(row["batch"])), str(row["stream"]), int(str(row["threads"]))


def chart(rows: Sequence[Row], hardware: str) -> str:
    """Bars of the ratio to ``F.embedding`` at D = 16 and 64 (batch of 4096, Zipf, one thread), the targets as ticks."""
    left, bar, gap, width, unit = 190, 9, 12, 760, 90
    chosen = {d: {str(r["contender"]): r for r in rows if _setting(r) == (d, 4096, "zipf", 1)} for d in (16, 64)}
    names = [name for name in chosen[16] or chosen[64] if not name.startswith("limit:")]
    height = 60 + len(names) * (2 * bar + gap)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="18" font-size="13">Lookups per second to F.embedding fp32: {escape(hardware)}</text>',
        '<text x="10" y="34" fill="#555555">5 million rows, batch 4096 x 26, Zipf 1.05, 1 thread; '
        "dark D = 16, light D = 64, tick = target</text>",
    ]
    for mark in range(0, 7):
        x = left + mark * unit
        colour = "#333333" if mark == 1 else "#dddddd"
        parts.append(f'<line x1="{x}" y1="42" x2="{x}" y2="{height}" stroke="{colour}"/>')
        parts.append(f'<text x="{x + 2}" y="50" fill="#777777" font-size="9">{mark}</text>')
    for k, name in enumerate(names):
        y = 56 + k * (2 * bar + gap)
        parts.append(f'<text x="{left - 8}" y="{y + bar + 3}" text-anchor="end">{escape(name)}</text>')
        for offset, dimension, colour in ((0, 16, "#1f4e79"), (bar, 64, "#9dc3e6")):
            row = chosen[dimension].get(name)
            if row is None:
                continue
            value, top = float(str(row["ratio_embedding"])), y + offset
            length = min(value, 6.2) * unit
            parts.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{bar}" fill="{colour}"/>')
            parts.append(f'<text x="{left + length + 3:.1f}" y="{top + bar - 1}" font-size="9">{value:.2f}</text>')
            if name in TARGETS:
                x = left + TARGETS[name][dimension == 64] * unit
                parts.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{top + bar}" stroke="#c00000" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])
