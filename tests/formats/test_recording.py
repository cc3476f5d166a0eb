"""What records or transforms a lookup holds the table, not the vectors of the batch that was recorded."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from sharkbench.errors import ArtifactError, InputError
from sharkbench.formats import recorded
from sharkbench.formats.registry import formats
from tests.formats.test_casts import one_served
from tests.formats.test_contract import random_ids

ROOT = Path(__file__).resolve().parents[2]
IDS = random_ids(dtype=torch.int64)
OTHER = IDS.flip(0).contiguous()
Call = Callable[[Tensor], Tensor]


def exported(module: nn.Module) -> nn.Module:
    batch = {0: torch.export.Dim("batch", min=2)}
    return torch.export.export(module, (IDS,), dynamic_shapes=(batch,)).module()


def through_a_file(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.export.save(torch.export.export(module, (IDS,)), file)
    file.seek(0)
    return torch.export.load(file).module()


def traced_through_a_file(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, IDS), file)
    file.seek(0)
    return torch.jit.load(file)


RECORDED: dict[str, Callable[[nn.Module], Call]] = {
    "trace": lambda m: torch.jit.trace(m, IDS),
    "trace in a model": lambda m: torch.jit.trace(nn.Sequential(m, nn.Flatten()), IDS),
    "trace of a function": lambda m: torch.jit.trace(lambda ids: m(ids), IDS),
    "trace, saved": traced_through_a_file,
    "script of a trace": lambda m: torch.jit.script(nn.Sequential(torch.jit.trace(m, IDS))),
    "export": exported,
    "export, saved": through_a_file,
    "make_fx": lambda m: make_fx(lambda ids: m(ids))(IDS),
    "vmap": lambda m: lambda ids: torch.vmap(m)(torch.stack([ids.flip(0), ids]))[1],
    "vmap of columns": lambda m: lambda ids: torch.vmap(m, in_dims=1)(torch.stack([ids.flip(0), ids], 1))[1],
    "functional call": lambda m: (
        lambda ids: torch.func.functional_call(m, {n: t.clone() for n, t in m.state_dict().items()}, (ids,))
    ),
}


@pytest.fixture(params=sorted(formats()))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


OF_EVERY_FORMAT = ("trace", "export", "vmap", "functional call")
PAIRS = [(kind, name) for kind in sorted(formats()) for name in RECORDED if name in OF_EVERY_FORMAT or kind == "tiered"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "name"), PAIRS, indirect=["kind"])
def test_other_batches_get_their_own_vectors(kind: str, name: str) -> None:
    layer, _ = one_served(kind)
    for _ in range(2):
        call = RECORDED[name](layer)
        for ids in (OTHER, IDS, OTHER[:5] if name not in ("export, saved",) else OTHER):
            assert torch.equal(call(ids).view(len(ids), -1), layer(ids).view(len(ids), -1))
        layer = layer.half()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["dense", "generated"], indirect=True)
def test_compiled_models_look_up_between_their_graphs(kind: str) -> None:
    layer, _ = one_served(kind)
    for _ in range(2):
        model = nn.Sequential(layer, nn.Flatten())
        call = torch.compile(model, backend="eager")
        for ids in (IDS, OTHER, OTHER[:5]):
            assert torch.equal(call(ids), model(ids))
        layer = layer.half()


@pytest.mark.filterwarnings("ignore")
def test_a_recorded_table_is_checked_as_a_loaded_one_is() -> None:
    """Its tensors are the program's: changed there, they are refused, or served as they are now."""
    layer, _ = one_served("tiered")
    traced = torch.jit.trace(layer, IDS)
    assert torch.equal(traced(OTHER), layer(OTHER))
    wrong = OTHER.clone()
    wrong[0, 0] = 10**6
    with pytest.raises(RuntimeError, match="is outside 0 to 130"):
        traced(wrong)
    for name, tensor in traced.state_dict().items():
        if name.endswith("ranks"):
            tensor.fill_(30_000)
    with pytest.raises(RuntimeError, match="ranks do not add up"):
        traced(OTHER)


@pytest.mark.filterwarnings("ignore")
def test_recorded_tables_are_let_go() -> None:
    for _ in range(6):
        layer, _ = one_served("dense")
        torch.jit.trace(layer, IDS)(OTHER)
    assert len(recorded._ready) <= 4


@pytest.mark.filterwarnings("ignore")
def test_a_trace_serves_in_another_process(tmp_path: Path) -> None:
    layer, _ = one_served("composed")
    torch.jit.trace(layer, IDS).save(str(tmp_path / "traced.pt"))
    torch.save({"ids": OTHER, "vectors": layer(OTHER)}, tmp_path / "wanted.pt")
    code = (
        "import sys, torch, sharkbench.formats.layer; traced = torch.jit.load(sys.argv[1] + '/traced.pt');"
        "said = torch.load(sys.argv[1] + '/wanted.pt'); assert torch.equal(traced(said['ids']), said['vectors'])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)


@pytest.mark.parametrize("wrap", [lambda m: m, nn.Sequential])
def test_script_refuses_in_one_line(wrap: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(
        InputError, match=r"torch.jit.script cannot compile a packed table; record it with torch.jit.trace"
    ) as raised:
        torch.jit.script(wrap(one_served("dense")[0]))
    assert "\n" not in str(raised.value)


def test_symbolic_traces_and_tables_under_vmap_are_refused_in_one_line() -> None:
    layer, _ = one_served("dense")
    with pytest.raises(InputError, match="ids are a Proxy"):
        torch.fx.symbolic_trace(nn.Sequential(layer))
    states = {n: torch.stack([t, t]) for n, t in layer.state_dict().items()}
    with pytest.raises(ArtifactError, match="holds its numbers in another way"):
        torch.vmap(lambda state: torch.func.functional_call(layer, state, (IDS,)))(states)
    assert torch.equal(layer.lookup(IDS), layer._plain(IDS))


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_recorded_without_a_gradient_in_silence() -> None:
    layer, _ = one_served("dense")
    rows = layer.parts[0].table.float().requires_grad_()
    layer.parts[0].table = rows
    with pytest.raises(InputError, match="no gradient to its table"):
        torch.jit.trace(layer, IDS)
