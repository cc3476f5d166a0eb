"""Lookups that others offer for the same rows: PyTorch's operators, what its compiler makes of a definition, FBGEMM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sharkbench.formats.base import Format

Call = Callable[[int], object]


def operators(table: Tensor, packed: dict[str, Format], batches: list[Tensor]) -> dict[str, Call]:
    """PyTorch's own, on the fp32 ``table`` as PyTorch allocates it, and on the very memory that our formats use."""
    flat = [b.flatten() for b in batches]
    bags, quantized = torch.arange(flat[0].numel(), dtype=torch.int32), torch.ops.quantized
    made: dict[str, Call] = {
        "F.embedding fp32": lambda i: F.embedding(batches[i], table),
        "F.embedding_bag fp32": lambda i: F.embedding_bag(flat[i], table, bags),
    }
    if "fp32" in packed:
        ours = packed["fp32"].get_buffer("table")
        made["F.embedding fp32, our memory"] = lambda i: F.embedding(batches[i], ours)
        made["F.embedding_bag fp32, our memory"] = lambda i: F.embedding_bag(flat[i], ours, bags)
    if "int8, fp32 scales" in packed:
        rows8 = packed["int8, fp32 scales"].get_buffer("table")
        made["torch int8"] = lambda i: quantized.embedding_bag_byte_rowwise_offsets(rows8, flat[i], bags)
    if "int4" in packed:
        rows4 = packed["int4"].get_buffer("table")
        made["torch int4"] = lambda i: quantized.embedding_bag_4bit_rowwise_offsets(rows4, flat[i], bags)
    return made


class Compiled:
    """The plain definitions through ``torch.compile``: C++ on a CPU. Compiled anew for each number of threads, which
    the generated code holds."""

    def __init__(self, packed: dict[str, Format], dimension: int) -> None:
        self.dimension, self.count = dimension, 0
        self.rows = packed["int8, fp32 scales"].get_buffer("table") if "int8, fp32 scales" in packed else None
        if self.rows is not None:
            # The kindest layout for it: codes, scales and offsets in tensors of their own.
            self.codes = self.rows[:, :dimension].contiguous()
            numbers = self.rows[:, dimension:].contiguous().view(torch.float32)
            self.scales, self.offsets = numbers[:, 0].contiguous(), numbers[:, 1].contiguous()
        qr: Any = packed.get("QR n/100")
        self.parts = None if qr is None else (qr.table0, qr.table1, qr.starts, qr.bases)
        self.divisor = 0 if qr is None else qr.functions[0][0].modulus

    def calls(self, batches: list[Tensor]) -> dict[str, Call]:
        threads, made = torch.get_num_threads(), dict[str, Call]()
        if threads != self.count:
            torch._dynamo.reset()
            self.int8 = torch.compile(_int8, dynamic=True)
            self.qr = torch.compile(_qr, dynamic=True)
            self.count = threads
        if self.rows is not None:
            made["torch.compile int8"] = lambda i: self.int8(batches[i], self.codes, self.scales, self.offsets)
        if self.parts is not None:
            made["torch.compile QR"] = lambda i: self.qr(batches[i], *self.parts, self.divisor)  # type: ignore[misc]
        return made


def _int8(ids: Tensor, codes: Tensor, scales: Tensor, offsets: Tensor) -> Tensor:
    return codes[ids].float() * scales[ids].unsqueeze(-1) + offsets[ids].unsqueeze(-1)


def _qr(ids: Tensor, rest: Tensor, quotient: Tensor, starts: Tensor, bases: Tensor, divisor: int) -> Tensor:
    local = ids - starts
    return rest[local % divisor + bases[0]] * quotient[local // divisor + bases[1]]


class Fbgemm:
    """FBGEMM's inference tables of 8 and 4 bits on the CPU, a bag of one id for each field, rows drawn at random.

    Empty where the optional package ``fbgemm-gpu-cpu`` is not installed.
    """

    def __init__(self, fields: int, rows: int, dimension: int) -> None:
        self.fields, self.rows = fields, rows
        self.tables: dict[str, Any] = {}
        try:
            from fbgemm_gpu.split_embedding_configs import SparseType
            from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
            from fbgemm_gpu.split_table_batched_embeddings_ops_inference import IntNBitTableBatchedEmbeddingBagsCodegen
        except (ImportError, OSError):
            return
        for name, kind in (("int8", SparseType.INT8), ("int4", SparseType.INT4)):
            specs = [(f"f{i}", rows, dimension, kind, EmbeddingLocation.HOST) for i in range(fields)]
            table = IntNBitTableBatchedEmbeddingBagsCodegen(specs, device="cpu", output_dtype=SparseType.FP32)
            table.fill_random_weights()
            self.tables[f"FBGEMM {name}"] = table

    def calls(self, batches: list[Tensor]) -> dict[str, Call]:
        starts = torch.arange(self.fields, dtype=torch.int32) * self.rows
        # It takes the ids table by table.
        ids = [(b - starts).T.flatten().to(torch.int32).contiguous() for b in batches]
        offsets = torch.arange(ids[0].numel() + 1, dtype=torch.int32)
        return {name: (lambda i, t=table: t(ids[i], offsets)) for name, table in self.tables.items()}
