"""Does a method keep the contract? The same checks serve ``sharkbench check METHOD`` and the project's own tests.

Each check raises ``AssertionError`` with one sentence; no check measures quality or speed. The data set is tiny and
generated: a large, a small and a tiny field, a multi-valued field, a dense input, two labels.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharkbench.contract import registry
from sharkbench.contract.checking import Checks, Outcome, outcomes
from sharkbench.contract.method import Method
from sharkbench.errors import Infeasible
from sharkbench.files.durable import scratch_folder

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.model.model import Model

BUDGETS = (0.5, 0.25)
BACKBONES = ("deepfm", "dcn")
"""One with first-order weights (rows wider than the dimension) and one without."""


def check_method(name: str) -> Iterator[Outcome]:
    """Run every check on the method called ``name``, one after the other.

    Raises:
        InputError: there is no such method.
    """
    yield from outcomes(CHECKS, registry.get(name))


def _states_itself(method: type[Method]) -> None:
    for attribute in ("title", "paper", "year", "family"):
        assert hasattr(method, attribute), f"'{attribute}' is not declared"
    text = method.__doc__ or ""
    assert text != Method.__doc__, "no docstring: state paper and equation"
    assert ".. math::" in text, "the docstring has no equation (a '.. math::' line)"


def _round_trips(method: type[Method]) -> None:
    config = method(name=method.model_fields["name"].default)
    again = registry.parse(config.model_dump(mode="json"))
    assert again == config, f"settings change on the way through JSON: {config!r} became {again!r}"


def _meets_budgets(method: type[Method]) -> str:
    notes = []
    for backbone in BACKBONES:
        for budget in BUDGETS if _default(method).budgeted else (None,):
            made = _compressed(method, backbone, budget)
            if isinstance(made, Infeasible):
                notes.append(f"{backbone} at {budget:g}: infeasible")
                continue
            bench, model = made
            nbytes = model.pack().layer.nbytes
            if bench.budget is not None:
                assert nbytes <= bench.budget, f"{backbone} at {budget:g}: {nbytes:,} bytes, allowed {bench.budget:,}"
            notes.append(f"{backbone} at {budget or 1:g}: {nbytes / bench.fp32_bytes:.3f}")
    assert any("infeasible" not in note for note in notes), f"reaches none of the budgets {BUDGETS}"
    return "; ".join(notes)


def _refuses_the_impossible(method: type[Method]) -> str | None:
    if not _default(method).budgeted:
        return "takes no budget"
    bench = tiny_bench("dcn", None)
    try:
        size = _default(method).size(1, bench.shape)
    except Infeasible as infeasible:
        reason = str(infeasible)
    else:
        raise AssertionError(f"a budget of 1 byte must raise Infeasible with the reason; got {size!r}")
    assert "byte" in reason, f"the reason names no bytes: {reason}"
    return reason


def _serves_what_it_trained(method: type[Method]) -> None:
    import torch

    for bench, model in _all_compressed(method):
        ids = bench.dataset.splits["valid"].ids
        model.eval()
        with torch.no_grad():
            trained, packed = model.embedding(ids), model.pack().layer(ids)
        assert packed.shape == trained.shape, f"packed {tuple(packed.shape)}, trained {tuple(trained.shape)}"
        assert torch.isfinite(packed).all(), "the packed layer returns NaN or infinity"
        gap = (packed - trained).abs().max().item()
        assert gap <= 1e-5 + 1e-3 * trained.abs().max().item(), (
            f"in eval mode model and packed layer differ by up to {gap:.2g}: validation would judge another table"
        )


def _survives_saving(method: type[Method]) -> None:
    import torch

    from sharkbench.model import artifact

    for bench, model in _all_compressed(method):
        packed = model.pack()
        with scratch_folder() as folder:
            artifact.save(packed, folder, fingerprint=bench.dataset.fingerprint, backbone=bench.backbone)
            loaded = artifact.load(folder)
            stored = artifact.tensor_bytes(folder)
        ids = bench.dataset.splits["test"].ids
        assert torch.equal(loaded(ids), packed.layer(ids)), "lookups differ after saving and loading"
        assert stored == packed.layer.nbytes == loaded.nbytes, (
            f"file {stored:,} bytes, packed {packed.layer.nbytes:,}, loaded {loaded.nbytes:,}: they must be equal"
        )


def _repeats_itself(method: type[Method]) -> None:
    import torch

    backbone, budget = BACKBONES[0], BUDGETS[0] if _default(method).budgeted else None
    first, second = (_compressed.__wrapped__(method, backbone, budget) for _ in range(2))
    if isinstance(first, Infeasible) or isinstance(second, Infeasible):
        return
    one, two = first[1].state_dict(), second[1].state_dict()
    assert one.keys() == two.keys(), "the same seed gave models with other parts"
    for key in one:
        assert torch.equal(one[key], two[key]), f"the same seed gave another '{key}': an unseeded random source"


CHECKS: Checks[type[Method]] = {
    "states title, paper, year, family and equation": _states_itself,
    "settings survive JSON": _round_trips,
    "meets budgets": _meets_budgets,
    "says what it cannot reach": _refuses_the_impossible,
    "serves what it trained": _serves_what_it_trained,
    "survives saving and loading": _survives_saving,
    "same seed, same model": _repeats_itself,
}


def _default(method: type[Method]) -> Method:
    return method(name=method.model_fields["name"].default)


def _all_compressed(method: type[Method]) -> Iterator[tuple[Workbench, Model]]:
    budget = BUDGETS[0] if _default(method).budgeted else None
    for backbone in BACKBONES:
        made = _compressed(method, backbone, budget)
        if not isinstance(made, Infeasible):
            yield made


@cache
def _compressed(method: type[Method], backbone: str, budget: float | None) -> tuple[Workbench, Model] | Infeasible:
    bench = tiny_bench(backbone, budget)
    config = _default(method)
    try:
        return bench, config.compress(bench)
    except Infeasible as reason:
        return reason


_folders = contextlib.ExitStack()
atexit.register(_folders.close)


def _folder() -> Path:
    """A new folder that lives as long as the process: no two checks share a full-precision model."""
    return _folders.enter_context(scratch_folder())


def tiny_bench(backbone: str, budget: float | None) -> Workbench:
    """A workbench of its own on :func:`tiny_dataset`: D = 6, one epoch, ``budget`` as a fraction."""
    from pydantic import TypeAdapter

    from sharkbench.backbones import BackboneConfig
    from sharkbench.contract.workbench import Workbench
    from sharkbench.tasks import registry as tasks
    from sharkbench.training.recipe import Recipe

    hidden = {} if backbone in ("linear", "fm") else {"hidden": [16]}
    bench = Workbench(
        dataset=tiny_dataset(),
        task=tasks.parse("ctr"),
        backbone=TypeAdapter(BackboneConfig).validate_python({"name": backbone, **hidden}),
        dimension=6,
        recipe=Recipe(batch_size=256, epochs=1, learning_rate=0.01, threads=1, accelerator="cpu"),
        seed=1,
        budget=None,
        shared=_folder(),
        full_key="full",
    )
    return bench.for_stage("", budget=int(budget * bench.fp32_bytes) if budget else None, start=None)


@cache
def tiny_dataset() -> PreparedDataset:
    """3,072 generated samples in memory: four fields, one of them multi-valued, a dense input, two labels."""
    import numpy as np
    import torch

    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.data.samples import Split, SplitName
    from sharkbench.data.schema import PADDING, Field, Schema

    rng = np.random.default_rng(0)
    fields = (Field("large", 700), Field("small", 90), Field("tags", 41, slots=3), Field("tiny", 3))
    schema = Schema(fields, labels=("click", "like"), dense=("age",))

    def split(rows: int) -> Split:
        columns: list[Any] = []
        for start, one in zip(schema.offsets, fields, strict=False):
            for slot in range(one.slots):
                ids = start + np.minimum(rng.zipf(1.3, rows) - 1, one.cardinality - 1)
                columns.append(np.where(rng.random(rows) < 0.4, PADDING, ids) if slot else ids)
        dense = rng.standard_normal((rows, 1))
        signal = np.sin(columns[0]) + dense[:, 0]
        labels = np.stack([signal + rng.standard_normal(rows) > 0, signal + rng.standard_normal(rows) > 1], 1)
        return Split(
            ids=torch.from_numpy(np.stack(columns, 1).astype(np.int32)),
            dense=torch.from_numpy(dense.astype(np.float32)),
            labels=torch.from_numpy(labels.astype(np.float32)),
        )

    splits: dict[SplitName, Split] = {"train": split(2048), "valid": split(512), "test": split(512)}
    used = splits["train"].ids.numpy()
    counts = np.bincount(used[used != PADDING].ravel(), minlength=schema.num_rows).astype(np.int64)
    with_counts = Schema(fields, schema.labels, schema.dense, frequencies=counts)
    return PreparedDataset("tiny", Path(), "tiny", with_counts, {"split": "random"}, splits)
