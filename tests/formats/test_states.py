"""Loading a state dict into a table: what ``restore`` takes is served, all else leaves the table as it was."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import Tensor, nn

from sharkbench.errors import ArtifactError, SharkbenchError
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.registry import formats
from tests.faults.mutated_states import damaged_state, load_and_look
from tests.formats.test_casts import one_served, packed, served
from tests.formats.test_contract import SCHEMA, layer_of, random_ids


@pytest.fixture(params=sorted(formats()))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("assign", [False, True])
def test_the_state_of_another_table_replaces_this_one(kind: str, assign: bool) -> None:
    """Into a table that was asked before; also within a model, and one whose tensors have other sizes."""
    for layer, before in served(kind):
        part = layer.formats[0]
        state = {n: t.clone() for n, t in layer.state_dict().items()}
        for name, tensor in state.items():
            if tensor.is_floating_point():
                state[name] = tensor * 2
        made = type(part).restore(
            SCHEMA, part.fields, part.width, part.describe(), {n.removeprefix("parts.0."): t for n, t in state.items()}
        )
        want = layer_of(made)(random_ids())
        model = nn.ModuleDict({"table": layer})
        model.load_state_dict({f"table.{n}": t for n, t in state.items()}, assign=assign)
        assert torch.equal(layer(random_ids()), want)
        held = layer.state_dict(keep_vars=True)
        assert all((held[n] is t) == assign for n, t in state.items())
        # No memory in common with what was given, unless it was to be assigned.
        for tensor in state.values():
            tensor.zero_()
        if not assign:
            assert torch.equal(layer(random_ids()), want)
        assert before.shape == want.shape


def test_sizes_that_the_settings_leave_open_may_change() -> None:
    """As many kept numbers as there are; tiers of any sizes."""
    few, many = layer_of(copy.deepcopy(packed("sparse")[2])), layer_of(copy.deepcopy(packed("sparse")[4]))
    few(random_ids())
    assert few.state_dict()["parts.0.values"].shape != many.state_dict()["parts.0.values"].shape
    few.load_state_dict(many.state_dict())
    assert torch.equal(few(random_ids()), many(random_ids()))


@pytest.mark.parametrize("assign", [False, True])
def test_a_damaged_state_is_one_line_and_changes_nothing(kind: str, assign: bool) -> None:
    for layer, vectors in served(kind):
        state = layer.state_dict()
        damaged: list[dict[str, object]] = []
        for name, tensor in state.items():
            for wrong in (
                tensor.flatten()[: max(0, tensor.numel() - 1)].clone(),
                torch.cat([tensor, tensor]),
                tensor.double() if tensor.dtype != torch.float64 else tensor.float(),
                torch.empty_like(tensor, device="meta"),
                tensor.numpy() if tensor.dtype != torch.bfloat16 else [1],
                None,
            ):
                damaged.append({**state, name: wrong})
            if tensor.is_floating_point() and tensor.numel():
                damaged.append({**state, name: torch.full_like(tensor, float("nan"))})
        refused = 0
        for wrong_state in damaged:
            twin = copy.deepcopy(layer)
            twin(random_ids())
            try:
                twin.load_state_dict(wrong_state, assign=assign)  # type: ignore[arg-type]
            except ArtifactError as error:
                assert "\n" not in str(error)  # noqa: PT017
                assert torch.equal(twin(random_ids()), vectors)
                refused += 1
            else:
                assert kind in ("shared_array", "sparse"), "other sizes are another table"
                assert twin(random_ids()).isfinite().all()
        assert refused > 2 * len(state)


@pytest.mark.parametrize("strict", [False, True])
def test_missing_and_unknown_tensors_are_reported_as_torch_reports_them(kind: str, strict: bool) -> None:
    layer, vectors = one_served(kind)
    state = dict(layer.state_dict())
    name = list(state)[-1]
    del state[name]
    state["parts.0.stray"] = torch.zeros(1)
    if strict:
        with pytest.raises(RuntimeError, match=r'Missing key.*\n.*Unexpected key.*"parts.0.stray"'):
            layer.load_state_dict(state)
    else:
        said = layer.load_state_dict(state, strict=False)
        assert (said.missing_keys, said.unexpected_keys) == ([name], ["parts.0.stray"])
    assert torch.equal(layer(random_ids()), vectors)


def test_parts_of_a_table_change_together_or_not_at_all() -> None:
    parts = [copy.deepcopy(packed("dense")[0]), copy.deepcopy(packed("int_rows")[0])]
    made = []
    for part, fields in zip(parts, ([4, 0], [2, 3]), strict=True):
        rows = torch.cat([part.table.split(part.cardinalities.tolist())[part.fields.index(f)] for f in fields])
        made.append(type(part)(SCHEMA, fields, 5, part.codec, rows.clone()))
    layer = PackedLayer(SCHEMA, 5, made)
    vectors, state = layer(random_ids()), layer.state_dict()
    wrong = {"parts.0.table": state["parts.0.table"] * 3, "parts.1.table": state["parts.1.table"][:2]}
    with pytest.raises(ArtifactError, match="'table'"):
        layer.load_state_dict(wrong)
    assert torch.equal(layer(random_ids()), vectors)


def test_a_part_of_a_part_is_checked_with_the_rest() -> None:
    """An index by itself can be any; the table that it is of is checked before the next lookup."""
    layer, _ = one_served("tiered")
    index = layer.parts[0].index
    index.load_state_dict({n: torch.zeros_like(t) for n, t in index.state_dict().items()})
    with pytest.raises(ArtifactError):
        layer(random_ids())


def test_a_state_shared_by_two_tables_serves_both(kind: str) -> None:
    first, vectors = one_served(kind)
    second = copy.deepcopy(first)
    second.load_state_dict(first.state_dict(), assign=True)
    assert torch.equal(second(random_ids()), vectors)
    for tensor in first.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(2)
    assert torch.equal(second(random_ids()), first(random_ids()))


@pytest.mark.parametrize("seed", range(60))
def test_mutated_states_are_loaded_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    kind = sorted(formats())[seed % len(formats())]
    layer = layer_of(copy.deepcopy(chance.choice(packed(kind))))
    state: dict[str, Tensor] = dict(layer.state_dict())
    try:
        load_and_look(layer, damaged_state(state, chance), chance, random_ids())
    except (SharkbenchError, RuntimeError) as error:
        said = str(error)
        assert isinstance(error, SharkbenchError) or "Error(s) in loading state_dict" in said  # noqa: PT017
