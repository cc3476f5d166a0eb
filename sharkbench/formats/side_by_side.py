"""Formats that each store some columns of a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Example, Format, num_rows, replicated
from sharkbench.formats.dense import Dense
from sharkbench.formats.gpu.launch import Launch
from sharkbench.formats.kernels import Columns, Program
from sharkbench.formats.registry import format_of_kind
from sharkbench.formats.restoring import only, read_settings, require


class PartSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    width: int = Field(ge=1, le=1 << 16)
    settings: dict[str, Any]


class SideBySideSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple[PartSettings, ...] = Field(min_length=1, max_length=16)


class SideBySide(Format):
    """``e_i = a_i ++ b_i ++ ...``, each part in a format of its own.

    For rows whose columns differ in kind: vectors as codes, and uncompressed first-order weights beside them.
    """

    kind = "side_by_side"

    def __init__(self, schema: Schema, fields: Sequence[int], parts: Sequence[Format]) -> None:
        super().__init__(schema, fields, sum(part.width for part in parts))
        self.parts = nn.ModuleList(parts)

    @property
    def formats(self) -> list[Format]:
        return list(self.parts)  # type: ignore[arg-type]

    @classmethod
    def pack(cls, parts: Sequence[Format]) -> Self:
        """Parts over the same fields, in the order of their columns."""
        first = parts[0]
        if any(part.fields != first.fields for part in parts):
            raise ValueError("parts side by side serve different fields")
        return cls(first.schema, first.fields, parts)

    @classmethod
    def bytes_of(cls, *parts: int) -> int:
        """Bytes of parts, given the bytes of each: their sum."""
        return sum(parts)

    def lookup(self, ids: Tensor) -> Tensor:
        return torch.cat([part.lookup(ids) for part in self.formats], -1)

    def programs(self, columns: Columns) -> list[Program] | None:
        made, at = [], 0
        for part in self.formats:
            mine = part.programs(Columns(columns.ids, columns.out + at))
            if mine is None:
                return None
            made += mine
            at += part.width
        return made

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch] | None:
        made, at = [], 0
        for part in self.formats:
            mine = part.launches(ids, places, out[..., at : at + part.width])
            if mine is None:
                return None
            made += mine
            at += part.width
        return made

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        if width > 1:
            left, right = torch.randn(num_rows(schema, fields), width - 1), torch.randn(num_rows(schema, fields), 1)
            parts = [Dense.pack(schema, fields, left, "fp16"), Dense.pack(schema, fields, right)]
            nbytes = cls.bytes_of(Dense.bytes_of(len(left), width - 1, "fp16"), Dense.bytes_of(len(right), 1))
            yield Example(cls.pack(parts), nbytes, torch.cat([left.half().float(), right], 1))

    def nbytes_by_field(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for part in self.formats:
            for name, nbytes in part.nbytes_by_field().items():
                total[name] = total.get(name, 0) + nbytes
        return total

    @property
    def num_parameters(self) -> int:
        return sum(part.num_parameters for part in self.formats)

    def replicate(self, times: int) -> Self:
        parts = [part.replicate(times) for part in self.formats]
        return type(self)(replicated(self.schema, times), self.fields, parts)

    def describe(self) -> dict[str, Any]:
        return {"parts": [{"kind": p.kind, "width": p.width, "settings": p.describe()} for p in self.formats]}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(SideBySideSettings, settings, cls.kind), cls.kind
        require(sum(part.width for part in said.parts) == width, kind, "widths of the parts do not add up")
        require(all(part.kind != kind for part in said.parts), kind, "parts are side by side within one another")
        parts, names = [], set()
        for k, part in enumerate(said.parts):
            own = {name: f"parts.{k}.{name}" for name in (n.removeprefix(f"parts.{k}.") for n in tensors)}
            mine = {short: tensors[name] for short, name in own.items() if name in tensors}
            names |= {own[short] for short in mine}
            parts.append(format_of_kind(part.kind).restore(schema, fields, part.width, part.settings, mine))
        only(tensors, names, kind)
        return cls(schema, fields, parts)
