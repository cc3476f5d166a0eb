"""A trainable table whose rows are in tiers of different precision, decided by their priority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from sharkbench.data.samples import Batch
from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codec import CHUNK
from sharkbench.formats.tiered import Tiered
from sharkbench.seeds import derive
from sharkbench.tables.parts import Slots, Table
from sharkbench.tables.rows import Rows
from sharkbench.tables.stochastic import round_nearest, round_stochastic

from .priorities import RowPriorities
from .tiers import TierName, codec_of

Choose = Callable[[Tensor], Tensor]
"""Priorities ``[R]`` to tiers ``[R]`` uint8."""


class TieredRows(Rows):
    """One float row per id, rounded after each step to the precision of the row's tier.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. The rows that a step touched are rounded stochastically or to the
    nearest; before an evaluation all rows are rounded to the nearest, so that the validated table equals the packed
    one. Float rows and priorities are training state: serving keeps codes and a tier per row.

    Args:
        schema, fields, weight: as for :class:`Rows`.
        tiers: precision of each tier; the buffer ``tier`` holds indices into it.
        tail: trailing columns that are first-order weights.
        priorities: one per row.
        choose: assigns tiers whenever :meth:`decide` is called.
        rounding: of touched rows.
        seed: of stochastic rounding.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        weight: Tensor,
        *,
        tiers: Sequence[TierName],
        tail: int,
        priorities: RowPriorities,
        choose: Choose,
        rounding: Literal["stochastic", "nearest"],
        seed: int,
    ) -> None:
        super().__init__(schema, fields, weight)
        self.tiers, self.tail, self.priorities = tuple(tiers), tail, priorities
        self.codecs = [codec_of(tier, tail) for tier in tiers]
        self.choose, self.rounding, self.seed = choose, rounding, seed
        self.register_buffer("tier", torch.zeros(len(weight), dtype=torch.uint8))
        self.tier: Tensor
        self._read: list[Tensor] = []
        self._generator: torch.Generator | None = None
        self._on_grid = False
        self.register_load_state_dict_post_hook(lambda *_: self._moved())

    def forward(self, slots: Slots) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self._read.append(slots.rows.detach().flatten())
        return super().forward(slots)

    def row_tables(self) -> list[nn.Parameter]:
        return []  # tiers are decided, and rows rounded, by what all processes have read

    @torch.no_grad()
    def observe(self, slots: Slots, labels: Tensor, weight: Tensor | None) -> None:
        """Update the priorities by a batch of samples, as one step.

        Args:
            slots: what the batch reads of this part.
            labels: ``[B, T]``.
            weight: ``[B]``, sample weights; one if not given.
        """
        rows = slots.rows
        samples = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)
        present = torch.ones_like(rows, dtype=torch.bool) if slots.present is None else slots.present
        self.priorities.update(rows[present], samples[present], labels, weight)

    @torch.no_grad()
    def decide(self) -> None:
        """Assign every row its tier by the current priorities."""
        self.tier.copy_(self.choose(self.priorities.current()))
        self._moved()

    def after_step(self) -> None:
        if not self._read:
            return
        rows = torch.unique(torch.cat(self._read))
        self._read.clear()
        self._round(rows, self.rounding == "stochastic")
        self._moved()

    def _moved(self) -> None:
        """Rows or tiers are no longer those of the last evaluation."""
        self._on_grid = False

    @torch.no_grad()
    def train(self, mode: bool = True) -> Self:
        if not mode and not self._on_grid:
            for rows in torch.arange(len(self.weight), device=self.weight.device).split(CHUNK):
                self._round(rows, by_chance=False)
            self._on_grid = True
        return super().train(mode)

    def _round(self, rows: Tensor, by_chance: bool) -> None:
        tier = self.tier[rows]
        for t, codec in enumerate(self.codecs):
            members = rows[tier == t]
            if not len(members) or (codec is not None and codec.dtype == "fp32"):
                continue
            if codec is None:
                self.weight.data[members] = 0.0
                continue
            values = self.weight.data[members]
            rounded = round_stochastic(values, codec, self._random()) if by_chance else round_nearest(values, codec)
            self.weight.data[members] = rounded

    def _random(self) -> torch.Generator:
        if self._generator is None or self._generator.device != self.weight.device:
            self._generator = torch.Generator(self.weight.device).manual_seed(derive(self.seed, "rounding"))
        return self._generator

    def shares(self, frequencies: np.ndarray | None) -> list[dict[str, Any]]:
        """The share of rows, and of reads in training, in each tier, per field and for all fields together.

        Args:
            frequencies: ``[num_rows]``, how often each row of the schema occurs in the training split.
        """
        tier = self.tier.cpu().numpy()
        sizes = [self.schema.fields[f].cardinality for f in self.fields]
        ids = np.concatenate([np.arange(self.schema.offsets[f], self.schema.offsets[f + 1]) for f in self.fields])
        reads = np.ones(len(ids)) if frequencies is None else frequencies[ids].astype(np.float64)
        ends = np.cumsum(sizes)
        parts = {self.schema.fields[f].name: slice(e - n, e) for f, n, e in zip(self.fields, sizes, ends, strict=True)}
        table: list[dict[str, Any]] = []
        for name, part in {"(all)": slice(None), **parts}.items():
            for t, label in enumerate(self.tiers):
                inside = tier[part] == t
                table.append(
                    {
                        "field": name,
                        "tier": label,
                        "rows": int(inside.sum()),
                        "share_of_rows": float(inside.mean()),
                        "share_of_traffic": float(reads[part][inside].sum() / max(reads[part].sum(), 1.0)),
                    }
                )
        return table

    def pack(self) -> list[Format]:
        return [Tiered.pack(self.schema, self.fields, self.weight.detach(), self.tier, self.codecs)]


class TrackPriorities(Callback):
    """Updates the priorities of a table's rows by each training batch, and reassigns tiers every few steps."""

    def __init__(self, table: Table, rows: TieredRows, every: int) -> None:
        self.table, self.rows, self.every = table, rows, every

    def observe(self, batch: Batch) -> None:
        """Update the priorities by a batch of samples."""
        (slots,) = self.table.slots(batch.ids)
        self.rows.observe(slots, batch.labels, batch.weight)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.observe(batch)
        if trainer.global_step % self.every == 0:
            self.rows.decide()
