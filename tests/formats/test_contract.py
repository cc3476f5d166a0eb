"""What every registered format promises, over all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sharkbench.contract.format_check import lies
from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import ArtifactError, InputError
from sharkbench.formats import kernels
from sharkbench.formats.base import Format
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots
from sharkbench.formats.registry import format_of_kind, formats
from sharkbench.model import artifact
from sharkbench.model.model import PackedModel
from tests.formats.examples import examples

# Out of order, with a pruned field between and a multi-valued one; no size is a multiple of anything.
SCHEMA = Schema(
    fields=(Field("user", 131), Field("pruned", 3), Field("tags", 11, slots=3), Field("one", 1), Field("video", 67)),
    labels=("click",),
)
FIELDS = [4, 0, 2, 3]
WIDTHS = (1, 5, 16, 17)
SPECIALISED = (16, 64)
"""Widths that kernels were compiled for."""
ROUNDS = {"projected", "tensor_train", "generated"}
"""Formats with matrix products: kernels and references may differ in the last bits."""


def all_examples(kind: str, widths: Sequence[int] = WIDTHS) -> Iterator[tuple[str, Format, Any]]:
    for width in widths:
        yield from examples(kind, SCHEMA, FIELDS, width)


def one_example(kind: str) -> Format:
    return [packed for _, packed, _ in examples(kind, SCHEMA, FIELDS, 5)][-1]


def layer_of(packed: Format) -> PackedLayer:
    return PackedLayer(SCHEMA, packed.width, [packed])


def random_ids(samples: int = 40, dtype: torch.dtype = torch.int32, seed: int = 0) -> Tensor:
    """Duplicates and extremes: the first and last row of every field, then whatever comes."""
    rng = np.random.default_rng(seed)
    low, high = SCHEMA.offsets[:-1][SCHEMA.slot_fields], SCHEMA.offsets[1:][SCHEMA.slot_fields]
    ids = np.concatenate([[low, high - 1, low], rng.integers(low, high, (samples, SCHEMA.num_slots))])
    return torch.from_numpy(ids).to(dtype)


def expected(packed: Format, reference: Any, ids: Tensor) -> np.ndarray:
    slots = SCHEMA.slot_columns(packed.fields)
    rows = [
        [reference(packed.column_fields[c], int(ids[b, slot]) - int(packed.starts[c])) for c, slot in enumerate(slots)]
        for b in range(len(ids))
    ]
    return np.array(rows, dtype=np.float64).reshape(len(ids), len(slots), packed.width)


def close(kind: str, a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-4, rtol=1e-4) if kind in ROUNDS else torch.equal(a, b)


@pytest.fixture(params=sorted(formats()))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def saved(kind: str, tmp_path: Path) -> Path:
    save(layer_of(one_example(kind)), tmp_path)
    return tmp_path / artifact.PACKED


def save(layer: PackedLayer, folder: Path) -> None:
    from sharkbench.backbones import BackboneShape, build
    from sharkbench.backbones.ctr.dnn import DNN

    config = DNN(hidden=(2,), batch_norm=False)
    network = build(config, BackboneShape(len(layer.fields), layer.width, 0, 1))
    artifact.save(PackedModel(layer, network), folder, fingerprint="f", backbone=config)


def test_rows_are_the_reference(kind: str) -> None:
    for name, packed, reference in all_examples(kind):
        ids = random_ids(6)
        columns = torch.from_numpy(SCHEMA.slot_columns(packed.fields))
        got = packed.lookup(ids[:, columns])
        want = torch.from_numpy(expected(packed, reference, ids)).float()
        assert got.dtype == torch.float32, name
        assert close(kind, got, want), f"{name}, width {packed.width}"


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_kernels_give_what_plain_torch_gives(kind: str, dtype: torch.dtype) -> None:
    if kernels.compiled is None:
        pytest.skip("the compiled kernels were not built")
    best = kernels.compiled.in_use()
    for name, packed, _ in all_examples(kind, sorted({*WIDTHS, *SPECIALISED})):
        layer = layer_of(packed)
        for ids in (random_ids(300, dtype), random_ids(0, dtype)[:1], random_ids(1, dtype)[:0]):
            plain = layer._plain(ids)
            for kernel in kernels.compiled.available():
                kernels.compiled.choose(kernel)
                assert close(kind, layer.lookup(ids), plain), f"{name}, width {packed.width}, {kernel}"
            kernels.compiled.choose(best)
            strided = torch.stack([ids, ids], 2)[..., 0]
            assert close(kind, layer.lookup(strided), plain), "ids that are not contiguous"


def test_threads_give_the_same(kind: str) -> None:
    layer = layer_of(one_example(kind))
    ids = random_ids(20_000)
    alone = layer.lookup(ids)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert close(kind, layer.lookup(ids), alone)
    finally:
        torch.set_num_threads(before)


def test_large_batches_give_the_same(kind: str) -> None:
    """Outputs of 16 MiB and more are written past the cache."""
    if kernels.compiled is None:
        pytest.skip("the compiled kernels were not built")
    ids, best = random_ids(22_000), kernels.compiled.in_use()
    for name, packed, _ in examples(kind, SCHEMA, FIELDS, 32):
        layer = layer_of(packed)
        few = torch.cat([layer.lookup(part) for part in ids.split(1000)])
        assert few.nbytes > 1 << 24
        for kernel in kernels.compiled.available():
            kernels.compiled.choose(kernel)
            assert close(kind, layer.lookup(ids), few), f"{name}, {kernel}"
        kernels.compiled.choose(best)


def test_bytes_are_those_of_the_file(kind: str, tmp_path: Path) -> None:
    for number, (name, packed, _) in enumerate(examples(kind, SCHEMA, FIELDS, 17)):
        folder = tmp_path / str(number)
        layer = layer_of(packed)
        save(layer, folder)
        in_file = sum(t.nbytes for t in load_file(folder / artifact.PACKED).values())
        assert packed.nbytes == layer.nbytes == in_file == artifact.tensor_bytes(folder), name
        assert sum(packed.nbytes_by_field().values()) == packed.nbytes, name
        assert "pruned" not in packed.nbytes_by_field(), name


def test_loading_gives_the_same_bits(kind: str, tmp_path: Path) -> None:
    for number, (name, packed, _) in enumerate(examples(kind, SCHEMA, FIELDS, 5)):
        save(layer_of(packed), tmp_path / str(number))
        loaded = artifact.load(tmp_path / str(number))
        ids = random_ids()
        assert torch.equal(loaded(ids), layer_of(packed)(ids)), name
        assert loaded.formats[0].describe() == packed.describe(), name


def test_replicas_serve_copies(kind: str) -> None:
    for name, packed, _ in examples(kind, SCHEMA, FIELDS, 5):
        large = layer_of(packed).replicate(3)
        assert large.schema.num_rows == 3 * SCHEMA.num_rows, name
        ids = torch.from_numpy(large.schema.offsets[1:][SCHEMA.slot_fields] - 1).unsqueeze(0)
        assert torch.isfinite(large(ids)).all(), name
        if kind in ("dense", "int_rows", "tiered", "sparse", "codebooks", "projected", "side_by_side"):
            own = random_ids(5, torch.int64)
            starts = torch.from_numpy(SCHEMA.offsets[:-1][SCHEMA.slot_fields])
            copies = torch.from_numpy(np.diff(SCHEMA.offsets)[SCHEMA.slot_fields])
            for copy_number in range(3):
                moved = own + 2 * starts + copy_number * copies
                assert torch.equal(large.lookup(moved), layer_of(packed).lookup(own)), name


def test_ids_out_of_range_raise_or_read_the_unseen_row(kind: str) -> None:
    packed = one_example(kind)
    ids = random_ids(3, torch.int64)
    for bad in (-1, -(1 << 62), int(SCHEMA.num_rows), (1 << 62) + 5, int(SCHEMA.offsets[1])):
        wrong = ids.clone()
        wrong[2, 0] = bad
        with pytest.raises(InputError, match=f"sample 2, field 'user': id {bad} is outside 0 to 130"):
            layer_of(packed).lookup(wrong)
        unseen = ids.clone()
        unseen[2, 0] = 0
        forgiving = PackedLayer(SCHEMA, packed.width, [packed], unknown="unseen")
        assert torch.equal(forgiving.lookup(wrong), forgiving.lookup(unseen))
        assert torch.equal(forgiving._plain(wrong), forgiving._plain(unseen))
    # Whatever a pruned field holds is not looked at.
    ids[:, 1] = 10**9
    layer_of(packed).lookup(ids)


def test_empty_slots_are_left_out(kind: str) -> None:
    layer = layer_of(one_example(kind))
    ids = random_ids(30)
    ids[::2, 2] = PADDING
    ids[1::3, 2:5] = PADDING
    filled = torch.where(ids == PADDING, int(SCHEMA.offsets[2]), ids)
    want = pool_slots(layer.lookup(filled), ids.index_select(1, layer._kept), SCHEMA, layer.fields)
    assert torch.equal(layer(ids), want)
    assert not layer(ids)[1, layer.fields.index(2)].any()


def test_copies_and_moves_serve_on(kind: str) -> None:
    layer = layer_of(one_example(kind))
    ids = random_ids()
    want = layer(ids)
    twin = copy.deepcopy(layer)
    del layer
    assert torch.equal(twin(ids), want)
    assert torch.equal(nn.Sequential(twin).to(torch.device("cpu"))(ids), want)


def test_damaged_tensors_are_one_clear_error(saved: Path) -> None:
    tensors = load_file(saved)
    layer = artifact.load(saved)
    part = layer.formats[0]
    mine = {name.removeprefix("parts.0."): t for name, t in tensors.items()}
    damaged: list[dict[str, Tensor]] = [{**mine, "stray": torch.zeros(1)}]
    for name, tensor in mine.items():
        damaged.append({n: t for n, t in mine.items() if n != name})
        damaged.append({**mine, name: torch.zeros(0, dtype=tensor.dtype)})
        damaged.append({**mine, name: tensor.flatten()[: max(0, tensor.numel() - 1)].clone()})
        damaged.append({**mine, name: torch.cat([tensor, tensor])})
        damaged.append({**mine, name: tensor.to(torch.float64)})
        if tensor.is_floating_point() and tensor.numel():
            damaged.append({**mine, name: tensor.clone().fill_(float("nan"))})
            damaged.append({**mine, name: tensor.clone().fill_(float("inf"))})
    for tensors in damaged:
        try:
            made = format_of_kind(part.kind).restore(SCHEMA, part.fields, part.width, part.describe(), tensors)
        except ArtifactError:
            continue
        # A shared array of another length is an array all the same.
        assert part.kind == "shared_array", {n: t.shape for n, t in tensors.items()}
        assert torch.isfinite(made.lookup(random_ids()[:, SCHEMA.slot_columns(made.fields)])).all()


def test_lying_settings_are_one_clear_error(kind: str) -> None:
    part = one_example(kind)
    tensors = dict(part.state_dict())
    told = list(lies(part.describe()))
    assert len(told) > 0
    for lie in told:
        try:
            made = format_of_kind(kind).restore(SCHEMA, part.fields, part.width, lie, tensors)
        except ArtifactError:
            continue
        # What is not caught is another table of the same size, and serves as one.
        ids = random_ids()[:, SCHEMA.slot_columns(made.fields)]
        assert torch.isfinite(made.lookup(ids)).all(), lie
        assert made.nbytes == part.nbytes, lie
