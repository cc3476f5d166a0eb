"""Every registered method keeps every promise of the contract."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.contract.check import CHECKS, tiny_bench
from sharkbench.errors import Infeasible


@pytest.mark.parametrize("check", CHECKS, ids=lambda title: title.replace(" ", "-"))
@pytest.mark.parametrize("name", registry.names())
def test_method_keeps_the_contract(name: str, check: str) -> None:
    CHECKS[check](registry.get(name))


@pytest.mark.parametrize("share", [1.0, 0.55])
@pytest.mark.parametrize("name", registry.names())
def test_a_model_of_first_order_weights_alone_is_compressed_or_said_to_be_out_of_reach(name: str, share: float) -> None:
    bench = tiny_bench("linear", share)
    method = registry.parse(name)
    try:
        model = method.compress(bench)
    except Infeasible as reason:
        said = str(reason)
        assert "byte" in said
        return
    ids = bench.dataset.splits["valid"].ids[:64]
    packed = model.pack().layer
    torch.testing.assert_close(packed(ids), model.embedding.eval()(ids), rtol=0, atol=1e-6)
    if method.budgeted:
        assert packed.nbytes <= (bench.budget or 0)


@pytest.mark.parametrize("name", registry.names())
def test_method_file_is_light_to_import(name: str) -> None:
    code = f"from sharkbench.contract.registry import get; get({name!r}); import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, (
        f"importing '{name}' imports torch"
    )
