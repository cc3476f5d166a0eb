"""Dropout drops the right share, keeps the mean, and repeats itself."""

from __future__ import annotations

import pytest
import torch

from sharkbench.backbones.networks.layers import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_drops_a_share_of_p_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 333, dtype=dtype, requires_grad=True)
    out = Dropout(p)(x)
    assert out.dtype == dtype
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert out.float().mean().item() == pytest.approx(1, abs=0.02)
    out.float().sum().backward()
    torch.testing.assert_close(x.grad, out.detach())


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(100_000, 4)) > 0).float()
    assert torch.corrcoef(kept.T).fill_diagonal_(0).abs().max() < 0.02


def test_does_nothing_in_evaluation_mode() -> None:
    x = torch.randn(5, 3)
    assert Dropout(0.5).eval()(x) is x


def test_same_seed_same_mask() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(Dropout(0.3)(torch.ones(50, 7)))
    assert torch.equal(*masks)
