"""The plug-ins that ``docs/plugins.md`` shows, and a method that uses its format, written into folders."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
METHOD = '''
from typing import ClassVar, Literal

from sharkbench.contract.method import Family, Method


class Neighbours(Method):
    r"""Neighbouring ids share the mean of their rows.

    .. math:: e_i = T[\\lfloor i / g \\rfloor]
    """

    name: Literal["neighbours"] = "neighbours"
    group: int = 2
    """How many."""

    title: ClassVar[str] = "neighbouring ids share a row"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 2026
    family: ClassVar[Family] = "hashing"

    @property
    def takes(self):
        return "model"

    @property
    def budgeted(self):
        return False

    def compress(self, bench):
        from sharkbench.formats.layer import PackedLayer
        from sharkbench.model.model import Model
        from sharkbench.tables.packed import PackedTable
        from sharkbench.tables.kept import rows_of

        from .grouped import Grouped

        start = bench.start_model()
        fields = start.embedding.fields
        packed = Grouped.pack(bench.schema, fields, rows_of(start.embedding, fields), self.group)
        return Model(PackedTable(PackedLayer(bench.schema, bench.width, [packed])), start.backbone)
'''


def write(folder: Path) -> dict[str, str]:
    """``folder/methods``, ``backbones`` and ``sources``; the environment variables that name them."""
    grouped, *light_and_heavy = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    files = dict(
        zip(
            ("backbones/summed/__init__", "backbones/summed/network", "sources/jsonl/__init__", "sources/jsonl/reader"),
            light_and_heavy,
            strict=True,
        )
    )
    files |= {"methods/neighbours/__init__": METHOD, "methods/neighbours/grouped": grouped}
    for name, text in files.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {f"SHARKBENCH_{kind.upper()}": str(folder / kind) for kind in ("methods", "backbones", "sources")}
