"""The Triton kernels, without a GPU: interpreted they give the bits of plain torch, and they compile for real ones."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sharkbench.data.schema import Field, Schema
from sharkbench.formats import gpu
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.formats.in_use import kernels_in_use
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.registry import formats
from tests.formats.test_contract import all_examples, layer_of, random_ids

ROOT = Path(__file__).resolve().parents[2]
WITH_A_KERNEL = [kind for kind, of_kind in formats().items() if of_kind.launches is not Format.launches]
CASES = ["tails", "tiers", "compositions", "large_tables", "several_parts", "misaligned_rows"]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install '.[gpu]'"
)


def run(module: str, *words: str, **variables: str) -> str:
    """What the module prints; Triton decides when it is imported whether it interprets, so a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.formats.{module}", *words],
        cwd=ROOT,
        env={**kept, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_triton
@pytest.mark.parametrize("case", [*WITH_A_KERNEL, " ".join(CASES)])
def test_interpreted_kernels_give_the_bits_of_plain_torch(case: str) -> None:
    run("gpu_interpreted", *case.split(), TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.parametrize("capability", ["80", "90"])
def test_kernels_compile_for_real_gpus(capability: str, tmp_path: Path) -> None:
    found = json.loads(run("gpu_compiled", capability, TRITON_CACHE_DIR=str(tmp_path)))
    for name, instructions in found.items():
        said = {what.split(".")[0] for what in instructions}
        assert "fma" not in said, f"{name}: a contracted multiply-add rounds differently from plain torch"
        assert not any(what.startswith(("ld.local", "st.local")) for what in instructions), f"{name}: registers spill"
        if not any(word in name for word in ("17", "tail", "odd")):  # their rows are no multiple of 16 bytes
            assert instructions["st.global.v4.b32"], f"{name}: vectors are not stored 16 bytes at a time"
    assert found["fp32"]["ld.global.v4.b32"] >= 1
    assert found["fp16"]["ld.global.v4.b32"] >= 1
    assert found["int8, fp32 scales"]["ld.global.v2.b32"] >= 1
    assert found["tiers"]["popc.b64"] >= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
@pytest.mark.parametrize("kind", WITH_A_KERNEL)
def test_a_gpu_gives_the_bits_of_plain_torch(kind: str) -> None:
    if not gpu.usable():
        pytest.skip(str(gpu.why_not()))
    for number, (name, packed, _) in enumerate(all_examples(kind)):
        layer, ids = layer_of(packed), random_ids(700, (torch.int32, torch.int64)[number % 2])
        want = layer._plain(ids)
        got = layer.to("cuda").lookup(ids.to("cuda")).cpu()
        assert torch.equal(got.view(torch.int32), want.view(torch.int32)), f"{name}, width {packed.width}"


def test_a_gpu_takes_the_kernels_where_they_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which way ids on a GPU go; that there is none here is the point of the fake."""
    schema = Schema((Field("a", 9),), ("y",))
    layer = PackedLayer(schema, 4, [Dense.pack(schema, [0], torch.randn(9, 4))])

    class OnGpu(torch.Tensor):
        is_cuda = True  # type: ignore[assignment]
        is_cpu = False  # type: ignore[assignment]

    ids = torch.tensor([[3], [8]]).as_subclass(OnGpu)
    launched: list[str] = []
    monkeypatch.setattr(gpu, "run", lambda launch: launched.append(launch.kernel))
    monkeypatch.setattr(gpu, "usable", lambda: True)
    layer(ids)
    assert launched == ["stored_rows"]
    monkeypatch.setattr(gpu, "usable", lambda: False)
    assert torch.equal(layer(ids).as_subclass(torch.Tensor), layer._plain(torch.tensor([[3], [8]])))
    assert launched == ["stored_rows"]


def test_what_serves_on_a_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "usable", lambda: True)
    said = kernels_in_use("cuda")
    assert (said["dense"], said["generated"]) == ("triton", "torch")
    assert sorted(kind for kind, name in said.items() if name == "triton") == WITH_A_KERNEL
    monkeypatch.setattr(gpu, "usable", lambda: False)
    assert set(kernels_in_use("cuda").values()) == {"torch"}


def test_a_missing_triton_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert "triton is not installed" in gpu.why_not.__wrapped__()
