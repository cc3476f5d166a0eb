"""The kernels: ids to decoded rows in one launch per part.

Every kernel reads ids that are in range, and writes float32 vectors. Offsets are 64 bits wide, so tables may be of any
size; another batch size (``count``) recompiles nothing. Interpreted on a CPU the kernels are tested to return the bits
of plain PyTorch, and they compile for capabilities 8.0 and 9.0; they have not been run or timed on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sharkbench.formats.gpu.decoding import asked, decode, locate, small_row, store
from sharkbench.formats.gpu.launch import Launch

OPTIONS = {"enable_fp_fusion": False}
"""Products and sums are rounded one by one, as in plain PyTorch: a fused multiply-add gives other last bits."""


@triton.jit(do_not_specialize=["count"])
def stored_rows(
    ids, sample_stride, column_stride, places, count, out, table, shifts,
    codec: tl.constexpr, row_bytes: tl.constexpr, align: tl.constexpr,
    columns: tl.constexpr, out_strides: tl.constexpr, width: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Row ``id - shifts[column]`` of ``table``, as ``codec`` stores it."""
    there, sample, column, place, row_id = asked(ids, sample_stride, column_stride, places, count, columns, block)
    row = row_id - tl.load(shifts + column, there, other=0)
    rows = table.to(tl.pointer_type(tl.uint8))
    values = decode(rows, row * row_bytes, there, tl.program_id(1) * tile, codec, 0, width, align, tile)
    store(out, sample, place, there, values, out_strides, width, tile)


@triton.jit(do_not_specialize=["count"])
def tiered_rows(
    ids, sample_stride, column_stride, places, count, out, tables, shifts, planes, ranks, firsts,
    sizes: tl.constexpr, kept: tl.constexpr, codecs: tl.constexpr, aligns: tl.constexpr,
    columns: tl.constexpr, out_strides: tl.constexpr, width: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Row ``id - shifts[column]``, in the table of its tier, where a row takes ``sizes[t]`` bytes."""
    there, sample, column, place, row_id = asked(ids, sample_stride, column_stride, places, count, columns, block)
    row = row_id - tl.load(shifts + column, there, other=0)
    if len(sizes) > 1:
        tier, rank = locate(planes, ranks, firsts, row, there, len(sizes))
    else:
        tier, rank = tl.zeros([block], tl.int32), row
    values = tl.zeros([block, tile], tl.float32)
    for t in tl.static_range(len(sizes)):
        if sizes[t] > 0:
            own = there & (tier == t)
            rows = tables[t].to(tl.pointer_type(tl.uint8))
            got = decode(rows, rank * sizes[t], own, tl.program_id(1) * tile, codecs, t, kept[t], aligns[t], tile)
            values = tl.where(own[:, None], got, values)
    store(out, sample, place, there, values, out_strides, width, tile)


@triton.jit(do_not_specialize=["count"])
def composed_rows(
    ids, sample_stride, column_stride, places, count, out,
    tables, functions, starts, first_rows, head, planes, ranks, firsts,
    operations: tl.constexpr, widths: tl.constexpr, begins: tl.constexpr, hashed: tl.constexpr, codecs: tl.constexpr,
    sizes: tl.constexpr, aligns: tl.constexpr, headed: tl.constexpr,
    columns: tl.constexpr, out_strides: tl.constexpr, width: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """A row of each of ``tables``, combined from left to right; chosen ids have a row of their own in ``head``.

    Per part: its operation (0 add, 1 mult, 2 concat; 3 for the first), its width, its first column, and so on; the head
    is last in ``codecs``, ``sizes`` and ``aligns``.
    """
    there, sample, column, place, row_id = asked(ids, sample_stride, column_stride, places, count, columns, block)
    local = row_id - tl.load(starts + column, there, other=0)
    values = tl.zeros([block, tile], tl.float32)
    for j in tl.static_range(len(widths)):
        row = small_row(functions + (j * columns + column) * 4, local, there, hashed[j])
        rows = tables[j].to(tl.pointer_type(tl.uint8))
        if widths[j] == 1 and operations[j] < 2:
            got = decode(rows, row * sizes[j], there, 0, codecs, j, 1, aligns[j], 1)
        else:
            first = tl.program_id(1) * tile - begins[j]
            got = decode(rows, row * sizes[j], there, first, codecs, j, widths[j], aligns[j], tile)
        if operations[j] == 0:
            values += got
        elif operations[j] == 1:
            values *= got
        elif operations[j] == 2:
            at = tl.program_id(1) * tile + tl.arange(0, tile)
            values = tl.where((at >= begins[j])[None, :], got, values)
        else:
            values = got
    if headed:
        row = local + tl.load(first_rows + column, there, other=0)
        chosen, rank = locate(planes, ranks, firsts, row, there, 2)
        last: tl.constexpr = len(widths)
        own, rows, first = there & (chosen == 1), head.to(tl.pointer_type(tl.uint8)), tl.program_id(1) * tile
        got = decode(rows, rank * sizes[last], own, first, codecs, last, width, aligns[last], tile)
        values = tl.where(own[:, None], got, values)
    store(out, sample, place, there, values, out_strides, width, tile)


def run(launch: Launch) -> None:
    """Queue it on the device that its tensors are on."""
    if all(launch.grid):
        with torch.cuda.device_of(launch.arguments["ids"]):
            kernel = globals()[launch.kernel]
            kernel[launch.grid](**launch.arguments, **launch.constants, **OPTIONS)
