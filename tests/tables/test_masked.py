"""Masked tables keep to their mask, cost what was predicted, and spend a budget to the last number."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.contract.check import tiny_bench, tiny_dataset
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.codec import FloatName
from sharkbench.formats.sparse import Sparse
from sharkbench.tables.kept import keep_fields, rows_of
from sharkbench.tables.masked import MaskedRows, kept_within, largest
from tests.tables.small_tables import table_of

VALUES = st.sampled_from(["fp32", "fp16"])


def masked(schema: Schema, width: int, kept: int, values: FloatName = "fp32") -> MaskedRows:
    torch.manual_seed(0)
    weight = torch.randn(schema.num_rows, width)
    mask = largest(torch.rand(weight.shape), kept)
    return MaskedRows(schema, range(schema.num_fields), weight, mask, values=values)


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 3000), width=st.sampled_from([1, 6, 16, 18, 64]), share=st.floats(0.0, 1.1), values=VALUES)
def test_a_budget_is_spent_to_the_last_number(rows: int, width: int, share: float, values: FloatName) -> None:
    budget = int(share * rows * width * 4)
    try:
        kept = kept_within(budget, rows, width, values)
    except Infeasible:
        assert Sparse.bytes_of(rows, width, 1, values) > budget
        return
    packed = table_of(masked(Schema((Field("f", rows),), ("click",)), width, kept, values)).pack()
    assert packed.nbytes <= budget
    assert kept == rows * width or Sparse.bytes_of(rows, width, kept + 1, values) > budget


@pytest.mark.parametrize("values", ["fp32", "fp16"])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.1, 0.05])
def test_lands_within_two_percent_under_the_budget(share: float, values: FloatName) -> None:
    schema = Schema((Field("a", 25156), Field("b", 6361), Field("c", 12)), ("click",))
    budget = int(share * schema.num_rows * 16 * 4)
    kept = kept_within(budget, schema.num_rows, 16, values)
    assert 0.98 * budget <= table_of(masked(schema, 16, kept, values)).pack().nbytes <= budget


def test_the_reason_names_the_bytes_of_the_mask() -> None:
    with pytest.raises(Infeasible, match=r"takes 2,005 bytes for 1,000 rows, the budget is 1,000"):
        kept_within(1000, 1000, 16)


@settings(deadline=None)
@given(scores=st.lists(st.integers(0, 4), min_size=1, max_size=40), count=st.integers(1, 45))
def test_the_largest_are_the_first_of_a_stable_sort(scores: list[int], count: int) -> None:
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    chosen = largest(torch.tensor(scores, dtype=torch.float32), count)
    assert chosen.nonzero().flatten().tolist() == sorted(order[:count])


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam", "rowwise_adagrad", "sgd"])
@pytest.mark.parametrize("values", ["fp32", "fp16"])
def test_what_is_pruned_stays_zero_and_what_is_kept_trains(optimizer: str, values: FloatName) -> None:
    bench = tiny_bench("deepfm", None)
    rows = masked(bench.schema, bench.width, 2000, values)
    layer, before, mask = table_of(rows), rows.weight.detach().clone(), rows.mask.clone()
    bench.train(bench.model(layer), optimizer=optimizer, embedding_l2=1e-3)
    assert torch.equal(rows.mask, mask)
    assert not rows.weight[~mask].any()
    assert (rows.weight != before)[mask].float().mean() > 0.3
    ids = tiny_dataset().splits["valid"].ids
    assert torch.equal(layer.eval()(ids), layer.pack()(ids))
    assert layer.pack().nbytes == Sparse.bytes_of(bench.schema.num_rows, bench.width, 2000, values)


def test_fields_that_stay_keep_their_mask() -> None:
    schema = tiny_dataset().schema
    rows = masked(schema, 6, 1500, "fp16")
    layer = table_of(rows)
    fewer = keep_fields(layer, (1, 2))
    (own,) = fewer.members  # type: ignore[operator]
    assert isinstance(own, MaskedRows)
    first, last = schema.offsets[1], schema.offsets[3]
    assert own.values == "fp16"
    assert torch.equal(own.mask, rows.mask[first:last])
    assert torch.equal(rows_of(fewer), rows_of(layer)[first:last])
    ids = tiny_dataset().splits["valid"].ids
    assert torch.equal(fewer.pack()(ids), layer.pack()(ids)[:, 1:3])
