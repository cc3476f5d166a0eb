"""Lazy optimizers and sparse gradients against slow, obvious references."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sharkbench.training.gradients import clip, regularize, sum_rows
from sharkbench.training.optimizers import LazyAdam, RowwiseAdagrad

ROWS, WIDTH = 12, 3


def batches(steps: int, seed: int = 0) -> list[torch.Tensor]:
    """Ids with repetitions, some rows never among them."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(ROWS - 3, (5, 4), generator=generator) for _ in range(steps)]


def start() -> torch.Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))


def loss_of(table: torch.Tensor, dense: torch.Tensor, ids: torch.Tensor, *, sparse: bool) -> torch.Tensor:
    return ((F.embedding(ids, table, sparse=sparse) @ dense).tanh() - 0.3).square().sum()


def train(make: type[torch.optim.Optimizer], steps: int, **settings: float) -> tuple[nn.Parameter, nn.Parameter]:
    table, dense = nn.Parameter(start()), nn.Parameter(torch.ones(WIDTH))
    optimizer = make([{"params": [table]}, {"params": [dense]}], **settings)
    for ids in batches(steps):
        optimizer.zero_grad()
        loss_of(table, dense, ids, sparse=True).backward()
        optimizer.step()
    return table, dense


def lazy_adam_by_hand(steps: int, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row by row, number by number."""
    table, dense = start(), torch.ones(WIDTH)
    m, v = torch.zeros(ROWS, WIDTH), torch.zeros(ROWS, WIDTH)
    dense_m, dense_v = torch.zeros(WIDTH), torch.zeros(WIDTH)

    def update(weight: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, g: torch.Tensor, step: int) -> None:
        for k in range(WIDTH):
            mean[k] = 0.9 * mean[k] + 0.1 * g[k]
            square[k] = 0.999 * square[k] + 0.001 * g[k] ** 2
            corrected = mean[k] / (1 - 0.9**step), square[k] / (1 - 0.999**step)
            weight[k] -= lr * corrected[0] / (math.sqrt(corrected[1]) + 1e-8)

    for step, ids in enumerate(batches(steps), start=1):
        a, b = table.clone().requires_grad_(), dense.clone().requires_grad_()
        loss_of(a, b, ids, sparse=False).backward()
        for row in sorted(set(ids.flatten().tolist())):
            update(table[row], m[row], v[row], a.grad[row], step)
        update(dense, dense_m, dense_v, b.grad, step)
    return table, dense


def test_lazy_adam_is_adam_on_the_batch_s_rows() -> None:
    table, dense = train(LazyAdam, 8, lr=0.05)
    expected_table, expected_dense = lazy_adam_by_hand(8, 0.05)
    torch.testing.assert_close(table.detach(), expected_table, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(dense.detach(), expected_dense, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(table.detach()[-3:], start()[-3:], rtol=0, atol=0)


def test_lazy_adam_with_every_row_in_every_batch_is_adam() -> None:
    tables = []
    for make, sparse in ((LazyAdam, True), (torch.optim.Adam, False)):
        table, dense = nn.Parameter(start()), nn.Parameter(torch.ones(WIDTH))
        optimizer = make([table, dense], lr=0.05)
        for _ in range(10):
            optimizer.zero_grad()
            loss_of(table, dense, torch.arange(ROWS)[None], sparse=sparse).backward()
            optimizer.step()
        tables.append(table.detach())
    torch.testing.assert_close(*tables, rtol=1e-5, atol=1e-6)


def test_rowwise_adagrad_has_one_accumulator_per_row() -> None:
    table, dense = train(RowwiseAdagrad, 6, lr=0.1)
    expected, expected_dense = start(), torch.ones(WIDTH)
    total, dense_total = torch.zeros(ROWS), torch.zeros(WIDTH)
    for ids in batches(6):
        a, b = expected.clone().requires_grad_(), expected_dense.clone().requires_grad_()
        loss_of(a, b, ids, sparse=False).backward()
        for row in sorted(set(ids.flatten().tolist())):
            total[row] += a.grad[row].square().mean()
            expected[row] -= 0.1 * a.grad[row] / (total[row].sqrt() + 1e-10)
        dense_total += b.grad.square()
        expected_dense = expected_dense - 0.1 * b.grad / (dense_total.sqrt() + 1e-10)
    torch.testing.assert_close(table.detach(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(dense.detach(), expected_dense, rtol=1e-4, atol=1e-6)


def test_rowwise_adagrad_has_no_number_per_number_of_a_table() -> None:
    """Not even before the first step, and a state that is saved can be loaded."""
    table, dense = nn.Parameter(start()), nn.Parameter(torch.ones(WIDTH))
    optimizer = RowwiseAdagrad([table, dense], lr=0.1)
    assert not optimizer.state
    loss_of(table, dense, batches(1)[0], sparse=True).backward()
    optimizer.step()
    assert {name: tensor.numel() for name, tensor in optimizer.state[table].items()} == {"rows": ROWS, "step": 1}

    another = RowwiseAdagrad([table, dense], lr=0.1)
    another.load_state_dict(optimizer.state_dict())
    assert torch.equal(another.state[table]["rows"], optimizer.state[table]["rows"])


@given(
    indices=st.lists(st.integers(0, 40), min_size=1, max_size=200),
    width=st.sampled_from([1, 3, 17]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_sum_rows_is_coalesce(indices: list[int], width: int, seed: int) -> None:
    values = torch.randn(len(indices), width, generator=torch.Generator().manual_seed(seed))
    gradient = torch.sparse_coo_tensor(torch.tensor([indices]), values, (41, width), check_invariants=True)
    summed, expected = sum_rows(gradient), gradient.coalesce()
    assert summed.is_coalesced()
    torch.testing.assert_close(summed.indices(), expected.indices())
    torch.testing.assert_close(summed.values(), expected.values())


def sparse_and_dense_gradients() -> tuple[nn.Parameter, nn.Parameter]:
    both = []
    for sparse in (True, False):
        table = nn.Parameter(start())
        loss_of(table, torch.ones(WIDTH), batches(1)[0], sparse=sparse).backward()
        if sparse:
            table.grad = sum_rows(table.grad)
        both.append(table)
    return both[0], both[1]


def test_clipping_sees_the_true_norm_of_repeated_rows() -> None:
    sparse, dense = sparse_and_dense_gradients()
    clip([sparse], 0.01)
    nn.utils.clip_grad_norm_([dense], 0.01)
    torch.testing.assert_close(sparse.grad.to_dense(), dense.grad)
    assert dense.grad.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_small_gradient_is_not_clipped() -> None:
    sparse, dense = sparse_and_dense_gradients()
    clip([sparse], 1e6)
    torch.testing.assert_close(sparse.grad.to_dense(), dense.grad, rtol=0, atol=0)


def test_l2_is_of_the_whole_table_or_of_the_batch_s_rows() -> None:
    sparse, dense = sparse_and_dense_gradients()
    before = dense.grad.clone()
    regularize([sparse], 0.5)
    regularize([dense], 0.5)
    torch.testing.assert_close(dense.grad, before + 0.5 * start())
    touched = torch.zeros(ROWS, 1)
    touched[batches(1)[0].flatten()] = 1
    torch.testing.assert_close(sparse.grad.to_dense(), before + 0.5 * start() * touched)
