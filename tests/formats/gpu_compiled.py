"""Run by test_gpu.py: compiles the kernels for real GPUs, without one, and prints what the assembly has in it.

python -m tests.formats.gpu_compiled 80
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed import Composed
from sharkbench.formats.dense import Dense
from sharkbench.formats.gpu import kernels
from sharkbench.formats.gpu.launch import Launch
from sharkbench.formats.index import Hash, remainder
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.tiered import Tiered

SCHEMA = Schema((Field("a", 500), Field("b", 70)), ("y",))
INSTRUCTIONS = re.compile(r"\b(?:(?:ld|st)\.(?:global|local)|fma|popc|mul\.rn\.f32|mul\.f32)\S*")


class AbsentGpu:
    """As much of a driver as Triton asks before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def assembly(launch: Launch) -> str:
    """What the launch would run, by the same way to it, tensors on the CPU notwithstanding."""
    kernel = getattr(kernels, launch.kernel)
    made = kernel.warmup(**launch.arguments, **launch.constants, **kernels.OPTIONS, grid=launch.grid)
    assert made.asm["cubin"], "ptxas made no machine code"
    return made.asm["ptx"]


def parts() -> dict[str, Format]:
    table, fields = torch.randn(570, 16), [0, 1]
    wide = torch.randn(570, 17)
    codecs = [RowCodec(), RowCodec(dtype="fp16"), RowCodec(dtype="int8"), None, RowCodec(dtype="int4")]
    hashes = [[Hash.draw(30, torch.Generator().manual_seed(j)) for j in fields], [remainder(20)] * 2]
    small, chosen = [torch.randn(60, 16), torch.randn(40, 16)], torch.arange(570) % 9 == 0
    return {
        "fp32": Dense.pack(SCHEMA, fields, table),
        "fp16": Dense.pack(SCHEMA, fields, table, "fp16"),
        "bf16, 17 columns": Dense.pack(SCHEMA, fields, wide, "bf16"),
        "int8": IntRows.pack(SCHEMA, fields, table, RowCodec(dtype="int8")),
        "int8, fp32 scales": IntRows.pack(SCHEMA, fields, table, RowCodec(dtype="int8", scale="fp32")),
        "int4 with a tail": IntRows.pack(SCHEMA, fields, wide, RowCodec(dtype="int4", tail=1)),
        "int1, odd": IntRows.pack(SCHEMA, fields, wide, RowCodec(dtype="int1", symmetric=True, tail=3)),
        "tiers": Tiered.pack(SCHEMA, fields, table, torch.arange(570) % 5, codecs),
        "hash": Composed.pack(SCHEMA, fields, hashes[:1], small[:1]),
        "double hash, head": Composed.pack(SCHEMA, fields, hashes, small, "add", head=(chosen, table[chosen])),
        "QR, concat": Composed.pack(SCHEMA, fields, hashes[::-1], [small[1], small[0][:, :8]], "concat"),
    }


def main(capability: int) -> None:
    driver.set_active(AbsentGpu(capability))
    found = {}
    for name, packed in parts().items():
        layer = PackedLayer(SCHEMA, packed.width, [packed])
        ids, out = torch.zeros(64, 2, dtype=torch.int64), torch.empty(64, 2, packed.width)
        for launch in packed.launches(ids, layer._places0, out) or ():
            found[name] = Counter(INSTRUCTIONS.findall(assembly(launch)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
