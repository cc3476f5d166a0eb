"""The file that a new method starts from: complete, and it passes the checks of the contract unchanged."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from sharkbench.errors import InputError

TEMPLATE = '''from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import Size, largest_fraction

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.schema import Schema
    from sharkbench.formats.index import Digit
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class {cls}Size(Size):
    # What is decided before training; a field that is called like a setting is what became of it.
    fraction: float


class {cls}(Method):
    r"""One paragraph: what it does, the paper (authors, title, venue, year), and the equation.

    .. math:: e_f(i) = W_f[i \\bmod m_f]

    Then what is this project's own: every choice that the paper does not state.
    """

    name: Literal["{name}"] = "{name}"
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Each field of the class is a setting, this line is its documentation. A suite may state it: ``fraction: 0.2``."""

    title: ClassVar[str] = "one line for tables"
    paper: ClassVar[str] = "Authors, venue year, where to find it"
    year: ClassVar[int] = {year}
    family: ClassVar[Family] = "hashing"

    @property
    def budgeted(self) -> bool:
        # A budget decides the size, unless the suite states it.
        return self.fraction is None

    def size(self, budget: int, shape: TableShape) -> {cls}Size:
        # The largest setting whose exact byte count meets the budget; Infeasible is raised where there is none.
        from sharkbench.tables.composed import composed_nbytes

        def nbytes(fraction: float) -> int:
            return composed_nbytes(shape.schema, shape.width, self._functions(shape.schema, fraction), "add")

        return {cls}Size(self.fraction or largest_fraction(nbytes, budget, what="{name}"))

    def compress(self, bench: Workbench) -> Model:
        # The paper's algorithm box. Call bench.train as often as it takes; bench.full_model() is the trained
        # full-precision model; bench.evaluate(model) looks at validation; nothing here can see the test split.
        from sharkbench.tables.composed import composed_parts

        size = self.size(bench.room, bench.shape)
        functions = self._functions(bench.shape.schema, size.fraction)
        with bench.seeded("table"):
            parts = composed_parts(bench.schema, bench.fields, bench.width, functions, "add", bench.init_std)
        model = bench.model(bench.table(*parts))
        bench.train(model)
        return model

    def _functions(self, schema: Schema, fraction: float) -> list[list[Digit]]:
        from sharkbench.formats.index import remainder

        return [[remainder(max(1, int(fraction * field.cardinality)))] for field in schema.fields]
'''


def write_template(name: str, folder: Path) -> Path:
    """Write ``<folder>/<name>.py`` for a new method and return its path.

    Raises:
        InputError: the name cannot be a method's, the folder is missing, or the file exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"'{name}' cannot be a method's name: lower-case letters, digits and underscores")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; make it first or name another with --folder")
    file = folder / f"{name}.py"
    text = TEMPLATE.format(
        name=name, cls="".join(part.capitalize() for part in name.split("_")), year=date.today().year
    )
    try:
        with file.open("x") as out:
            out.write(text)
    except FileExistsError:
        raise InputError(f"{file} exists; choose another name or remove it first") from None
    return file
