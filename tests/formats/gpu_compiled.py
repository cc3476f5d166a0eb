"""Run by test_gpu.py: compiles the kernels for real GPUs, without one, and prints what the assembly has in it.

python -m tests.formats.gpu_compiled 80
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.dense import Dense
from sharkbench.formats.gpu import kernels
from sharkbench.formats.gpu.launch import Launch
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.tiered import Tiered

POINTERS = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
SCHEMA = Schema((Field("a", 500), Field("b", 70)), ("y",))
INSTRUCTIONS = re.compile(r"\b(?:(?:ld|st)\.(?:global|local)|fma|popc|mul\.rn\.f32|mul\.f32)\S*")


def assembly(launch: Launch, capability: int) -> str:
    """As a launch compiles it: arguments of 16 bytes' alignment, or the value 1, are known."""
    kernel = getattr(kernels, launch.kernel)
    signature: dict[str, str] = {}
    constants, known = dict(launch.constants), {}
    for i, name in enumerate(kernel.arg_names):
        value: Any = launch.arguments.get(name)
        if isinstance(value, Tensor):
            signature[name] = POINTERS[value.dtype]
            if value.data_ptr() % 16 == 0:
                known[(i,)] = [["tt.divisibility", 16]]
        elif name in constants or value == 1:
            signature[name] = "constexpr"
            constants.setdefault(name, value)
        else:
            signature[name] = "i32" if value < 1 << 31 else "i64"
    made = triton.compile(
        ASTSource(kernel, signature, constants, known),
        target=GPUTarget("cuda", capability, 32),
        options={"enable_fp_fusion": False},
    )
    assert made.asm["cubin"], "ptxas made no machine code"
    return made.asm["ptx"]


def parts() -> dict[str, Format]:
    table, fields = torch.randn(570, 16), [0, 1]
    wide = torch.randn(570, 17)
    codecs = [RowCodec(), RowCodec(dtype="fp16"), RowCodec(dtype="int8"), None, RowCodec(dtype="int4")]
    return {
        "fp32": Dense.pack(SCHEMA, fields, table),
        "fp16": Dense.pack(SCHEMA, fields, table, "fp16"),
        "bf16, 17 columns": Dense.pack(SCHEMA, fields, wide, "bf16"),
        "int8": IntRows.pack(SCHEMA, fields, table, RowCodec(dtype="int8")),
        "int8, fp32 scales": IntRows.pack(SCHEMA, fields, table, RowCodec(dtype="int8", scale="fp32")),
        "int4 with a tail": IntRows.pack(SCHEMA, fields, wide, RowCodec(dtype="int4", tail=1)),
        "int1, odd": IntRows.pack(SCHEMA, fields, wide, RowCodec(dtype="int1", symmetric=True, tail=3)),
        "tiers": Tiered.pack(SCHEMA, fields, table, torch.arange(570) % 5, codecs),
    }


def main(capability: int) -> None:
    found = {}
    for name, packed in parts().items():
        layer = PackedLayer(SCHEMA, packed.width, [packed])
        ids, out = torch.zeros(64, 2, dtype=torch.int64), torch.empty(64, 2, packed.width)
        for launch in packed.launches(ids, layer._places0, out) or ():
            found[name] = Counter(INSTRUCTIONS.findall(assembly(launch, capability)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
