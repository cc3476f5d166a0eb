"""The kernels: ids to decoded rows in one launch per part.

Every kernel reads ids that are in range, and writes float32 vectors. Offsets are 64 bits wide, so tables may be of any
size. Multiply-adds are not contracted (``enable_fp_fusion=False``), so that the bits are those of plain PyTorch.
Interpreted on a CPU they are tested to be; nothing here has been timed on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sharkbench.formats.gpu.decoding import asked, decode, locate, store
from sharkbench.formats.gpu.launch import Launch


@triton.jit
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


@triton.jit
def tiered_rows(
    ids, sample_stride, column_stride, places, count, out, rows, shifts, planes, bases,
    sizes: tl.constexpr, kept: tl.constexpr, codecs: tl.constexpr, align: tl.constexpr,
    columns: tl.constexpr, out_strides: tl.constexpr, width: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Row ``id - shifts[column]``, where the index says that it lies, of ``sizes[t]`` bytes in tier ``t``."""
    there, sample, column, place, row_id = asked(ids, sample_stride, column_stride, places, count, columns, block)
    row = row_id - tl.load(shifts + column, there, other=0)
    if len(sizes) > 1:
        tier, address = locate(planes, bases, row, there, sizes)
    else:
        tier, address = tl.zeros([block], tl.int32), row * sizes[0]
    values = tl.zeros([block, tile], tl.float32)
    for t in tl.static_range(len(sizes)):
        if sizes[t] > 0:
            own = there & (tier == t)
            got = decode(rows, address, own, tl.program_id(1) * tile, codecs, t, kept[t], align, tile)
            values = tl.where(own[:, None], got, values)
    store(out, sample, place, there, values, out_strides, width, tile)


def run(launch: Launch) -> None:
    """Queue it on the device that its tensors are on."""
    if all(launch.grid):
        with torch.cuda.device_of(launch.arguments["ids"]):
            kernel = globals()[launch.kernel]
            kernel[launch.grid](**launch.arguments, **launch.constants, enable_fp_fusion=False)
