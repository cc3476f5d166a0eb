"""What users do to the tensors of a served table: the right vectors, to the precision asked for, or one line."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sharkbench
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import ArtifactError, InputError, SharkbenchError
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.registry import formats
from tests.formats.examples import examples
from tests.formats.test_contract import FIELDS, SCHEMA, close, layer_of, random_ids, save

CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda m: m.half(),
    "bfloat16": lambda m: m.bfloat16(),
    "double": lambda m: m.double(),
    "float": lambda m: m.half().float(),
    "to": lambda m: m.to(torch.float16),
    "to with a device": lambda m: m.to("cpu", torch.bfloat16),
    "type": lambda m: m.type(torch.float64),
    "channels last": lambda m: m.to(memory_format=torch.channels_last),
}
SAME: dict[str, Callable[[PackedLayer], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "torch.save": lambda m: saved_and_loaded(m),
    "share_memory": lambda m: m.share_memory(),
    "there and back": lambda m: m.to("cpu"),
    "replica": lambda m: m._replicate_for_data_parallel(),
    "eval and train": lambda m: m.eval().train().requires_grad_(False),
    "state": lambda m: (m.load_state_dict({n: t.clone() for n, t in m.state_dict().items()}), m)[1],
    "assigned state": lambda m: (m.load_state_dict({n: t.clone() for n, t in m.state_dict().items()}, assign=True), m)[
        1
    ],
    "empty, loaded": lambda m: (s := m.state_dict(), m.to_empty(device="cpu").load_state_dict(s), m)[2],
    "meta, loaded": lambda m: (s := m.state_dict(), m.to("meta").load_state_dict(s), m)[2],
}


def saved_and_loaded(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    found: nn.Module = torch.load(file, weights_only=False)
    return found


@pytest.fixture(params=sorted(formats()))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@cache
def packed(kind: str) -> list[Format]:
    return [one for _, one, _ in examples(kind, SCHEMA, FIELDS, 5)]


def served(kind: str, choice: slice = slice(None, None, 3)) -> Iterator[tuple[PackedLayer, Tensor]]:
    """Layers that have been asked before, so that whatever they compile is compiled, and their vectors of some ids."""
    for one in packed(kind)[choice]:
        layer = layer_of(copy.deepcopy(one))
        for _ in range(2):
            vectors = layer(random_ids())
        yield layer, vectors


def one_served(kind: str) -> tuple[PackedLayer, Tensor]:
    return next(served(kind, slice(-1, None)))


def test_casts_round_the_vectors_and_leave_what_is_stored(kind: str) -> None:
    for layer, vectors in served(kind):
        before, nbytes = {n: t.clone() for n, t in layer.state_dict().items()}, layer.nbytes
        for name, cast in CASTS.items():
            model = cast(nn.ModuleDict({"table": copy.deepcopy(layer), "head": nn.Linear(5, 1)}))
            table, dtype = model["table"], model["head"].weight.dtype
            for ids in (random_ids(), random_ids(), random_ids().tolist()):
                assert table(ids).dtype == dtype, name
                assert torch.equal(table(ids), vectors.to(dtype)), name
            model["head"](table(random_ids()))
            assert torch.equal(table.lookup(random_ids()), layer.lookup(random_ids()).to(dtype)), name
            assert table.nbytes == nbytes
            assert all(torch.equal(t, before[n]) and t.dtype == before[n].dtype for n, t in table.state_dict().items())
        layer.parts[0].half()
        assert torch.equal(layer(random_ids()), vectors), "a part has no vectors of its own"


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.complex64, torch.float8_e4m3fn])
def test_types_that_vectors_cannot_have_are_refused(dtype: torch.dtype) -> None:
    layer, vectors = one_served("tiered")
    with pytest.raises(InputError, match="vectors come as float32, float16, bfloat16, float64, not as"):
        layer.type(dtype)
    assert torch.equal(layer(random_ids()), vectors)


def test_large_tables_are_cast_without_reading_beyond_them() -> None:
    """Half as many bytes as the kernels were told of: 128 MB read beyond the end."""
    schema = Schema((Field("a", 2_000_000),), ("y",))
    layer = PackedLayer(schema, 16, [Dense.pack(schema, [0], torch.arange(2_000_000.0)[:, None].expand(-1, 16))])
    ids = torch.tensor([[0], [1_999_999]])
    assert layer(ids)[1, 0, 0] == 1_999_999
    assert layer.bfloat16()(ids)[1, 0, 0] == torch.tensor(1_999_999.0).bfloat16()


@pytest.mark.parametrize("name", SAME)
def test_copies_moves_and_states_serve_on(kind: str, name: str) -> None:
    for layer, vectors in served(kind, slice(-1, None)):
        other = SAME[name](layer)
        for _ in range(2):
            assert torch.equal(other(random_ids()), vectors)
    # What was cast stays cast.
    if name not in ("empty, loaded", "meta, loaded"):
        assert torch.equal(SAME[name](layer.half())(random_ids()), vectors.half())


def test_a_copy_is_no_alias(kind: str) -> None:
    layer, vectors = one_served(kind)
    twin = copy.deepcopy(layer)
    twin(random_ids())
    for tensor in layer.state_dict().values():
        tensor.zero_()
    assert torch.equal(twin(random_ids()), vectors)


@pytest.mark.parametrize("how", [lambda m: m.to_empty(device="cpu"), lambda m: m.to("meta")])
def test_tables_without_content_say_so(kind: str, how: Callable[[PackedLayer], PackedLayer]) -> None:
    layer, _ = one_served(kind)
    shape = layer(random_ids()).shape
    layer = how(layer)
    with pytest.raises(ArtifactError, match="has no content, as after to_empty or on the meta device"):
        layer(random_ids())
    assert layer(random_ids().to("meta")).shape == shape


def test_ids_and_table_are_on_one_device() -> None:
    """The kernels would take an address on another device for one of their own."""
    layer, _ = one_served("dense")

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda:0")  # type: ignore[assignment]

    with pytest.raises(InputError, match="ids are on cuda:0, the table is on cpu; move one of them"):
        layer(random_ids().as_subclass(Elsewhere))


def edits(layer: PackedLayer) -> Iterator[tuple[str, Callable[[], object]]]:
    """Ways to change the table's last tensor that keep its content or not."""
    part = layer.parts[0]
    name, tensor = list(part.state_dict(keep_vars=True).items())[-1]
    path, _, last = name.rpartition(".")
    holder = part.get_submodule(path)

    def data() -> None:
        tensor.data = torch.cat([tensor, tensor])[::2]

    yield "resize_", lambda: tensor.resize_(3)
    yield "resize_ to more", lambda: tensor.resize_(tensor.numel() * 3000)
    yield "set_", lambda: tensor.set_(tensor.clone().flatten()[:1])
    yield "data", data
    yield "storage", lambda: tensor.untyped_storage().resize_(0)
    yield "copy_", lambda: tensor.copy_(torch.full_like(tensor, 99))
    yield "zero_ of a view", lambda: tensor.view(torch.uint8).fill_(255)
    yield "state dict", lambda: layer.state_dict()[f"parts.0.{name}"].fill_(-1 if tensor.is_signed() else 255)
    yield "assigned", lambda: setattr(holder, last, torch.full_like(tensor, 77))
    yield "assigned half", lambda: setattr(holder, last, tensor.half())
    yield "assigned short", lambda: setattr(holder, last, tensor[:1].clone())
    yield "assigned strided", lambda: setattr(holder, last, torch.stack([tensor, tensor], -1)[..., 0])
    yield "assigned expanded", lambda: setattr(holder, last, tensor[:1].expand(tensor.shape))
    yield "assigned None", lambda: setattr(holder, last, None)
    yield (
        "assigned a parameter",
        lambda: setattr(holder, last, nn.Parameter(tensor.clone(), tensor.is_floating_point())),
    )
    yield "assigned in the dict", lambda: holder._buffers.update({last: torch.zeros_like(tensor)})
    yield "deleted", lambda: delattr(holder, last)
    yield "another module", lambda: layer.parts.__setitem__(0, nn.Linear(2, 2))
    yield "shared", lambda: tensor.share_memory_()
    yield "swapped", lambda: torch.utils.swap_tensors(tensor, torch.zeros(2))


def test_changed_tensors_are_served_or_refused(kind: str) -> None:
    """What is served after a change is what plain torch makes of a table that restore takes; all else is one line."""
    count = len(list(edits(one_served(kind)[0])))
    outcomes = {"served": 0, "refused": 0}
    for number in range(count):
        layer, _ = one_served(kind)
        name, edit = list(edits(layer))[number]
        try:
            edit()
            got = [layer(random_ids()) for _ in range(2)]
        except SharkbenchError as error:
            assert "\n" not in str(error), name  # noqa: PT017
            outcomes["refused"] += 1
            continue
        except RuntimeError:  # torch's own refusal of the edit: nothing has changed
            continue
        part = layer.formats[0]
        stored = {n: t.detach().clone() for n, t in part.state_dict().items()}
        fresh = type(part).restore(SCHEMA, part.fields, part.width, part.describe(), stored)
        for vectors in got:
            assert close(kind, vectors, layer_of(fresh)(random_ids())), name
        outcomes["served"] += 1
    assert min(outcomes.values()) > 1, outcomes


def test_a_single_number_with_a_stride_is_cast_like_any() -> None:
    layer, vectors = one_served("shared_array")
    layer.parts[0].seed = torch.stack([layer.parts[0].seed] * 2, -1)[..., 0]
    assert torch.equal(layer.half()(random_ids()), vectors.half())


def test_settings_that_change_are_noticed() -> None:
    layer, _ = one_served("dense")
    wrong = random_ids()
    wrong[0, 0] = 10**6
    with pytest.raises(InputError):
        layer(wrong)
    layer.unknown = "unseen"
    layer(wrong)
    layer.unknown = "raise"
    with pytest.raises(InputError):
        layer(wrong)
    part = layer.parts[0]
    part.codec = part.codec.model_copy(update={"dtype": "fp32" if part.codec.dtype != "fp32" else "fp16"})
    with pytest.raises(ArtifactError, match="its settings say"):
        layer(random_ids())
    other = layer_of(packed("int_rows")[0])
    layer.parts[0] = other.parts[0]
    assert torch.equal(layer(random_ids()), other(random_ids()))


def test_rows_of_another_width_or_schema_have_no_place() -> None:
    """Kernels would write beyond the end of a vector."""
    schema = Schema((Field("a", 9),), ("y",))
    for part in (
        Dense.pack(schema, [0], torch.zeros(9, 16)),
        Dense.pack(Schema((Field("b", 4),), ()), [0], torch.zeros(4, 4)),
    ):
        with pytest.raises(ValueError, match="another schema than the layer, or rows that are not 4 wide"):
            PackedLayer(schema, 4, [part])
    layer, _ = one_served("dense")
    layer.width = 3
    with pytest.raises(ArtifactError, match="rows that are not 3 wide"):
        layer(random_ids())


def test_gradients_reach_a_table_that_asks_for_them() -> None:
    layer, vectors = next(served("dense"))
    rows = layer.parts[0].table.clone().requires_grad_()
    got = torch.func.functional_call(layer, {"parts.0.table": rows}, (random_ids(),))
    got.sum().backward()
    assert torch.equal(got, vectors)
    assert rows.grad is not None
    assert rows.grad.abs().sum() > 0
    assert not layer(random_ids()).requires_grad


def test_modes_change_nothing(kind: str) -> None:
    for layer, vectors in served(kind):
        ids, strided = random_ids(), torch.stack([random_ids()] * 2, 2)[..., 0]
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            assert torch.equal(layer(ids), vectors)
            assert torch.equal(layer(strided), vectors)
            plain = layer._plain(ids)
        assert close(kind, plain, layer._plain(ids))
        for device in ("cpu", "meta"):
            with torch.device(device):
                twin = copy.deepcopy(layer)
                for one in (layer, twin):
                    assert torch.equal(one(strided), vectors)
        for dtype in (torch.float16, torch.float64):
            torch.set_default_dtype(dtype)
            try:
                assert torch.equal(copy.deepcopy(layer)(ids), vectors)
                assert layer._plain(ids).dtype == torch.float32
            finally:
                torch.set_default_dtype(torch.float32)


def test_a_table_loaded_in_any_mode_is_watched(tmp_path: Path) -> None:
    layer, vectors = one_served("sparse")
    save(layer, tmp_path)
    with torch.inference_mode(), torch.device("meta"):
        loaded = sharkbench.load(tmp_path)
        assert torch.equal(loaded(random_ids()), vectors)
    with torch.inference_mode():
        assert torch.equal(copy.deepcopy(layer)(random_ids()), vectors)
        loaded.parts[0].values.resize_(1)
        with pytest.raises(ArtifactError):
            loaded(random_ids())


def test_lookups_and_states_in_several_threads() -> None:
    layer, vectors = one_served("tiered")
    state, wrong, stop = copy.deepcopy(layer.state_dict()), [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not torch.equal(layer(random_ids()), vectors):
                wrong.append(1)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        layer.load_state_dict(state, assign=bool(turn % 2))
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
