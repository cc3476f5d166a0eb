"""Columns of text that line up: what a table of thousands of rows needs, where nothing has to be folded."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], right: Collection[int], width: int) -> list[str] | None:
    """Each row as a line, its columns two blanks apart.

    Args:
        rows: as many cells in each.
        right: numbers of the columns that are aligned to the right.
        width: of the place where they are shown, in cells of a terminal.

    Returns:
        ``None`` where a line would be wider, or a cell holds something else than printable text.
    """
    from rich.cells import cell_len

    if not all(cell.isprintable() for row in rows for cell in row):
        return None
    lengths = [[len(cell) if cell.isascii() else cell_len(cell) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*lengths, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        return None
    return [
        "  ".join(
            " " * (widths[i] - length) + cell if i in right else cell + " " * (widths[i] - length)
            for i, (cell, length) in enumerate(zip(row, own, strict=True))
        ).rstrip()
        for row, own in zip(rows, lengths, strict=True)
    ]
