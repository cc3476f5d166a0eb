"""The pruning loop that all rankings of fields share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sharkbench.backbones.base import Backbone
from sharkbench.contract.passes import counted, device_of, fine_tune
from sharkbench.errors import Infeasible, InputError
from sharkbench.field_selection.scores import permutation_scores, rank_correlation
from sharkbench.formats.base import SHARED
from sharkbench.model.model import Model
from sharkbench.tables.kept import keep_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharkbench.contract.workbench import Workbench
    from sharkbench.field_selection.method import FieldSelection


@dataclass
class Trail:
    """Records of the loop: scores and ranks of every round, and the path of fields, bytes and quality."""

    bench: Workbench
    scores: list[dict[str, Any]] = field(default_factory=list)
    path: list[dict[str, Any]] = field(default_factory=list)

    def add_step(self, model: Model, nbytes: int, dropped: Sequence[int], **facts: float) -> None:
        quality, metric = self.bench.evaluate(model), self.bench.metric
        names = [self.bench.schema.fields[f].name for f in dropped]
        self.path.append(
            {
                "step": len(self.path),
                "fields": len(model.embedding.fields),
                "bytes": nbytes,
                "bytes_ratio": nbytes / self.bench.fp32_bytes,
                metric.name: metric.mean(quality),
                **{f"{metric.name}_{label}": values[metric.name] for label, values in quality.items()},
                **facts,
                "dropped": " ".join(names),
            }
        )
        self.bench.note("path", self.path)

    def add_scores(
        self, fields: Sequence[int], by_label: Tensor, value: Tensor, sizes: dict[int, int], seconds: float
    ) -> None:
        labels = self.bench.schema.labels
        by_rank = value.argsort(descending=True, stable=True).tolist()
        for rank, i in enumerate(by_rank, start=1):
            self.scores.append(
                {
                    "round": len(self.path),
                    "rank": rank,
                    "field": self.bench.schema.fields[fields[i]].name,
                    "score": value[i].item(),
                    **{f"score_{name}": by_label[i, t].item() for t, name in enumerate(labels[: by_label.shape[1]])},
                    "bytes": sizes[fields[i]],
                    "seconds": seconds,
                }
            )
        self.bench.note("scores", self.scores)


def prune(bench: Workbench, method: FieldSelection) -> Model:
    """Run the pruning loop described in :class:`FieldSelection`.

    Raises:
        Infeasible: no field of the model fits into the budget.
    """
    if method.schedule == "one_shot" and bench.start is not None:
        raise InputError(f"{method.name}: one_shot retrains from scratch, so it can only be the first of a pipeline")
    model = bench.start_model()
    sizes, shared = _sizes(model)
    trail = Trail(bench)
    trail.add_step(model, _total(model, sizes, shared), ())
    metric, at_once = bench.metric, None
    start = metric.score(trail.path[0][metric.name])
    while True:
        fields = model.embedding.fields
        room = None if bench.budget is None or not method.budgeted else bench.budget - shared
        if _reached(method, fields, sizes, room):
            return model
        scores, seconds = _scored(bench, method, model, trail, sizes)
        ranked = [
            fields[i] for i in _value(method, scores, sizes, fields).argsort(descending=True, stable=True).tolist()
        ]
        kept = _kept(method, ranked, sizes, room, at_once)
        started = time.perf_counter()
        smaller = _retrained(bench, kept) if method.schedule == "one_shot" else without(model, kept)
        cut = bench.value(smaller)
        if method.schedule == "iterative":
            stage = f"fine-tune {len(trail.path)}"
            fine_tune(
                bench, smaller, stage=stage, epochs=method.epochs, learning_rate_factor=method.learning_rate_factor
            )
        facts = {
            f"{metric.name}_before_tuning": cut,
            "scoring_seconds": seconds,
            "training_seconds": time.perf_counter() - started,
        }
        dropped = [f for f in reversed(ranked) if f not in kept]
        trail.add_step(smaller, _total(smaller, sizes, shared), dropped, **facts)
        if method.tolerance is not None and metric.score(trail.path[-1][metric.name]) < start - method.tolerance:
            # The tolerance is exceeded: undo the round and drop half as many; where it dropped one field, stop.
            if len(dropped) == 1:
                return model
            at_once = len(dropped) // 2
            continue
        model = smaller


def without(model: Model, kept: Sequence[int]) -> Model:
    """``model`` with the fields ``kept`` only; their trained weights stay."""
    assert isinstance(model.backbone, Backbone)
    positions = [model.embedding.fields.index(f) for f in kept]
    return Model(keep_fields(model.embedding, kept), model.backbone.drop_fields(positions))


def _retrained(bench: Workbench, kept: Sequence[int]) -> Model:
    model = bench.model(keep_fields(bench.full_table(), kept))
    bench.train(model, stage="retrain")
    return model


def _sizes(model: Model) -> tuple[dict[int, int], int]:
    """Packed bytes of each field, and the bytes that fields share."""
    by_name = model.pack().layer.nbytes_by_field()
    sizes = {f: by_name.get(model.embedding.schema.fields[f].name, 0) for f in model.embedding.fields}
    return sizes, by_name.get(SHARED, 0)


def _total(model: Model, sizes: dict[int, int], shared: int) -> int:
    return shared + sum(sizes[f] for f in model.embedding.fields)


def _reached(method: FieldSelection, fields: Sequence[int], sizes: dict[int, int], room: int | None) -> bool:
    if method.keep is not None:
        return len(fields) <= method.keep
    if method.tolerance is not None or room is None:
        return len(fields) == 1
    if min(sizes[f] for f in fields) > room:
        raise Infeasible(f"no field of the model fits into {room:,} bytes")
    return sum(sizes[f] for f in fields) <= room


def _scored(
    bench: Workbench, method: FieldSelection, model: Model, trail: Trail, sizes: dict[int, int]
) -> tuple[Tensor, float]:
    """Scores ``[F, T]`` and their seconds; the first round notes their agreement with permutation importance."""
    valid, fields = bench.dataset.splits["valid"], model.embedding.fields
    model.to(device_of(bench))
    started = time.perf_counter()
    with counted(bench, len(valid)):
        scores = method.scores(bench, model).double().cpu()
    seconds = time.perf_counter() - started
    scores = scores if scores.dim() == 2 else scores[:, None]
    trail.add_scores(fields, scores, _value(method, scores, sizes, fields), sizes, seconds)
    if method.compare_shuffles and len(trail.path) == 1:
        started = time.perf_counter()
        generator = bench.generator("compare")
        shuffled = permutation_scores(model, valid, bench.task, method.compare_shuffles, generator)
        own, primary = _combined(method, scores), bench.metric.name
        loss = shuffled[bench.task.loss_or_metric("loss").name]
        note = {
            "fields": len(fields),
            "spearman_loss": rank_correlation(own, _combined(method, loss)),
            f"spearman_{primary}": rank_correlation(own, _combined(method, shuffled[primary])),
            "seconds": seconds,
            "permutation_seconds": time.perf_counter() - started,
            "shuffles": method.compare_shuffles,
        }
        bench.note("agreement", [note])
    model.cpu()
    return scores, seconds


def _combined(method: FieldSelection, scores: Tensor) -> Tensor:
    return scores.mean(1) if method.combine == "mean" else scores.amax(1)


def _value(method: FieldSelection, scores: Tensor, sizes: dict[int, int], fields: Sequence[int]) -> Tensor:
    """``[F]``: the values that fields are ranked by."""
    value = _combined(method, scores)
    if method.order == "score":
        return value
    size = torch.tensor([sizes[f] for f in fields], dtype=torch.float64)
    # A harmful field, with a negative score, is worse the more bytes it takes.
    return torch.where(value > 0, value / size, value * size)


def _kept(
    method: FieldSelection, ranked: Sequence[int], sizes: dict[int, int], room: int | None, at_once: int | None
) -> tuple[int, ...]:
    """The fields that this round keeps, ascending; ``ranked`` is best first.

    Under a byte budget, the last round keeps every field that still fits, best first, so that no bytes stay unused that
    a field could take. Earlier rounds drop only fields that the last round would not keep, lowest first.
    """
    share = method.shrink if method.schedule == "iterative" else 0.0
    if room is None:
        count = len(ranked) - at_once if at_once else int(share * len(ranked))
        return tuple(sorted(ranked[: min(max(count, method.keep or 1), len(ranked) - 1)]))
    final = []
    for f in ranked:
        if sizes[f] <= room:
            final.append(f)
            room -= sizes[f]
    left = sum(sizes[f] for f in ranked)
    enough, kept = share * left, set(ranked)
    for f in reversed(ranked):
        if left > enough and f not in final:
            kept.remove(f)
            left -= sizes[f]
    return tuple(sorted(kept))
