"""Ids as users have them: whole numbers of any size, in tensors, arrays and lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sharkbench
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import InputError
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from tests.formats.test_casts import one_served
from tests.formats.test_contract import random_ids, save


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i8"])
def test_ids_of_any_whole_numbers(dtype: str) -> None:
    schema = Schema((Field("a", 60), Field("b", 40)), ("y",))
    layer = PackedLayer(schema, 4, [Dense.pack(schema, [0, 1], torch.randn(100, 4))])
    ids = torch.tensor([[0, 60], [59, 99], [7, 61]])
    array = ids.numpy().astype(dtype)
    kinds = [array, array.tolist(), [tuple(row) for row in array.tolist()], list(array), array[::-1][::-1]]
    if dtype[0] != ">":
        kinds.append(torch.from_numpy(array))
    for given in kinds:
        for _ in range(2):
            assert torch.equal(layer(given), layer(ids))
            assert torch.equal(layer.lookup(given), layer(ids))


@pytest.mark.parametrize(
    "ids",
    [
        *([[1.0, 2.0]], [[True, False]], [[1, 2], [3]], [1, 2], [], "ids", None, [["1", "2"]], {"ids": 1}, object()),
        *([[1 << 64, 0]], [[(1 << 64) - 1, 0]], np.array([[(1 << 64) - 1, 0]], np.uint64)),
        *(np.array([[1.5, 2]]), np.ones((1, 2), bool), np.array([[1, 2]], object)),
        *(torch.ones(1, 2), torch.ones(1, 2).bool(), torch.tensor([[-1, 0]]).view(torch.uint64)),
        torch.ones(1, 2).to_sparse().long(),
    ],
)  # fmt: skip
def test_ids_that_are_no_whole_numbers_are_one_line(ids: object) -> None:
    schema = Schema((Field("a", 3, slots=2),), ("y",))
    layer = PackedLayer(schema, 4, [Dense.pack(schema, [0], torch.zeros(3, 4))])
    with pytest.raises(InputError, match=r"table takes|matrix of whole numbers") as raised:
        layer(ids)
    assert "\n" not in str(raised.value)


def test_unknown_ids_from_load(tmp_path: Path) -> None:
    layer, _ = one_served("dense")
    save(layer, tmp_path)
    ids = random_ids()
    ids[0, 0] = 10**6
    with pytest.raises(InputError, match="is outside"):
        sharkbench.load(tmp_path)(ids)
    first = ids.clone()
    first[0, 0] = 0
    assert torch.equal(sharkbench.load(tmp_path, unknown="unseen")(ids), layer(first))
    with pytest.raises(InputError, match="unknown='drop' is none of raise, unseen"):
        sharkbench.load(tmp_path, unknown="drop")  # type: ignore[arg-type]
