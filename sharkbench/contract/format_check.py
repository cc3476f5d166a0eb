"""Does a packed format keep its contract? The same checks serve ``sharkbench check format KIND`` and the tests.

They check the format's own examples over a few fields, which are not in the schema's order: one field is pruned, one is
multi-valued, one has a single row.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sharkbench.backbones import BackboneShape
from sharkbench.backbones.base import Backbone
from sharkbench.backbones.config import BackboneSettings
from sharkbench.contract.checking import Checks, Outcome, outcomes
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import ArtifactError, InputError
from sharkbench.files.durable import scratch_folder
from sharkbench.formats.base import Example, Format
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.registry import FORMATS
from sharkbench.model import artifact
from sharkbench.model.model import PackedModel

SCHEMA = Schema(
    fields=(Field("user", 131), Field("pruned", 3), Field("tags", 11, slots=3), Field("one", 1), Field("video", 67)),
    labels=("click",),
)
FIELDS = (4, 0, 2, 3)
WIDTHS = (1, 5, 16)
NEAR = 1e-4
"""Tolerance for kernels, which may sum in another order."""


def check_format(kind: str) -> Iterator[Outcome]:
    """Run every check on the format called ``kind``, one after the other.

    Raises:
        InputError: there is no such format.
    """
    yield from outcomes(CHECKS, FORMATS.get(kind))


def _states_itself(kind: type[Format]) -> None:
    assert kind.__doc__ not in (None, Format.__doc__), "no docstring: state what a row is, and the tensors' shapes"
    assert _examples(kind), "examples() gives no table; there is nothing to check"


def _takes_what_it_says(kind: type[Format]) -> None:
    for packed, said, _ in _examples(kind):
        with scratch_folder() as folder:
            _save(packed, folder)
            in_file = artifact.tensor_bytes(folder)
        assert said == packed.nbytes == in_file, (
            f"width {packed.width}: bytes_of says {said:,}, nbytes {packed.nbytes:,}, the file has {in_file:,}"
        )
        by_field = packed.nbytes_by_field()
        assert sum(by_field.values()) == said, f"nbytes_by_field adds up to {sum(by_field.values()):,}, not {said:,}"
        assert "pruned" not in by_field, "nbytes_by_field names a field that the table does not serve"
        assert packed.num_parameters >= 0, "num_parameters is negative"


def _gives_its_rows(kind: type[Format]) -> str | None:
    told = [example for example in _examples(kind) if example.rows is not None]
    for packed, _, rows in told:
        assert rows is not None
        columns, first = torch.from_numpy(SCHEMA.slot_columns(packed.fields)), 0
        for position, f in enumerate(packed.fields):
            count, start = SCHEMA.fields[f].cardinality, int(SCHEMA.offsets[f])
            ids = _ids(count, torch.int64)[:, columns]
            at = packed.column_fields == position
            ids[:, at] = torch.arange(start, start + count)[:, None]
            got = packed.lookup(ids)[:, at]
            want = rows[first : first + count, None].expand_as(got)
            assert _near(got, want), f"width {packed.width}: rows of field '{SCHEMA.fields[f].name}' come out as others"
            first += count
    return None if told else "no example says what its rows are"


def _kernels_agree(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind):
        layer = _layer(packed)
        for ids in (_ids(300), _ids(300, torch.int64), _ids(3)[:0], torch.stack([_ids(9)] * 2, 2)[..., 0]):
            plain = layer._plain(ids)
            assert plain.dtype == torch.float32, f"lookup gives {plain.dtype}, not float32"
            assert plain.shape == (len(ids), len(layer._kept), packed.width), f"lookup gives {list(plain.shape)}"
            assert _near(layer.lookup(ids), plain), f"width {packed.width}: a kernel gives other rows than lookup"


def _reads_its_own_rows_only(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind):
        for bad in (-1, -(1 << 62), SCHEMA.num_rows, (1 << 62) + 5, int(SCHEMA.offsets[1])):
            wrong, unseen = _ids(3, torch.int64), _ids(3, torch.int64)
            wrong[2, 0], unseen[2, 0] = bad, 0
            try:
                _layer(packed).lookup(wrong)
            except InputError:
                pass
            else:
                raise AssertionError(f"id {bad} is looked up, though field 'user' ends before it")
            forgiving = PackedLayer(SCHEMA, packed.width, [packed], unknown="unseen")
            assert torch.equal(forgiving.lookup(wrong), forgiving.lookup(unseen)), "an unknown id reads another row"


def _survives_saving(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind):
        with scratch_folder() as folder:
            _save(packed, folder)
            loaded = artifact.load(folder)
        assert torch.equal(loaded(_ids(40)), _layer(packed)(_ids(40))), "lookups differ after saving and loading"
        assert loaded.formats[0].describe() == packed.describe(), "settings differ after saving and loading"


def _refuses_damage(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind, WIDTHS[1:2]):
        own = {name: tensor.clone() for name, tensor in packed.state_dict().items()}
        assert _restored(packed, packed.describe(), {**own, "stray": torch.zeros(1)}) is None, (
            "restore takes a tensor that belongs to nothing"
        )
        for name, tensor in own.items():
            without = {other: t for other, t in own.items() if other != name}
            assert _restored(packed, packed.describe(), without) is None, f"restore does without tensor '{name}'"
            damaged = [torch.cat([tensor, tensor]), tensor.flatten()[:-1].clone(), tensor.to(torch.float64)]
            if tensor.is_floating_point() and tensor.numel():
                damaged += [torch.full_like(tensor, float("nan")), torch.full_like(tensor, float("inf"))]
            for wrong in damaged:
                made = _restored(packed, packed.describe(), {**own, name: wrong})
                # An array of another length may still be a valid table: then it is served.
                assert made is None or (_serves(made) and wrong.dtype == tensor.dtype), (
                    f"restore takes a '{name}' that is {wrong.dtype} {list(wrong.shape)}, or not finite"
                )


def _refuses_lies(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind, WIDTHS[1:2]):
        own = dict(packed.state_dict())
        for lie in lies(packed.describe()):
            made = _restored(packed, lie, own)
            # A change that is not refused gives another valid table of the same size, which is served.
            assert made is None or (_serves(made) and made.nbytes == packed.nbytes), f"restore takes settings {lie}"


def _survives_copies(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind):
        layer, ids = _layer(packed), _ids(20)
        want = layer(ids)
        for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer).to("cpu")):
            assert torch.equal(made(ids), want), "a copy gives other rows"
        assert copy.deepcopy(layer).half().nbytes == layer.nbytes, "half() changes what is stored"
        other = copy.deepcopy(layer)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other(ids), want), "load_state_dict of its own state gives other rows"


def _grows(kind: type[Format]) -> None:
    for packed, _, _ in _examples(kind):
        large = _layer(packed).replicate(3)
        assert large.schema.num_rows == 3 * SCHEMA.num_rows, "replicate(3) has not three times the rows"
        ids = torch.from_numpy(large.schema.offsets[1:][SCHEMA.slot_fields] - 1).unsqueeze(0)
        assert torch.isfinite(large(ids)).all(), "the last rows of replicate(3) are not finite"


CHECKS: Checks[type[Format]] = {
    "states itself and has examples": _states_itself,
    "takes the bytes that it says": _takes_what_it_says,
    "gives the rows that were packed": _gives_its_rows,
    "kernels give what lookup gives": _kernels_agree,
    "reads its own rows only": _reads_its_own_rows_only,
    "survives saving and loading": _survives_saving,
    "refuses damaged tensors": _refuses_damage,
    "refuses settings that lie": _refuses_lies,
    "survives copies, pickles and casts": _survives_copies,
    "grows for timing": _grows,
}


def _examples(kind: type[Format], widths: Sequence[int] = WIDTHS) -> list[Example]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [example for width in widths for example in kind.examples(SCHEMA, FIELDS, width)]


def _ids(samples: int, dtype: torch.dtype = torch.int32) -> Tensor:
    """``[samples, S]`` ids: the first and the last row of every field, twice, then random ones."""
    low = torch.from_numpy(SCHEMA.offsets[:-1][SCHEMA.slot_fields])
    high = torch.from_numpy(SCHEMA.offsets[1:][SCHEMA.slot_fields])
    drawn = torch.rand(samples, len(low), generator=torch.Generator().manual_seed(0))
    ids = low + (drawn * (high - low)).long()
    return torch.cat([torch.stack([low, high - 1, low, high - 1]), ids])[:samples].to(dtype)


def _layer(packed: Format) -> PackedLayer:
    return PackedLayer(SCHEMA, packed.width, [packed])


class _Settings(BackboneSettings):
    """Settings of a backbone that is saved beside a table and does nothing."""

    name: str = "nothing"

    def build(self, shape: BackboneShape) -> Backbone:
        return _Nothing(self, shape)


class _Nothing(Backbone):
    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        return vectors.new_zeros(len(vectors), self.shape.num_labels)


def _save(packed: Format, folder: Any) -> None:
    shape = BackboneShape(len(packed.fields), packed.width, 0, 1)
    artifact.save(PackedModel(_layer(packed), _Settings().build(shape)), folder, fingerprint="f")


def _near(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=NEAR, rtol=NEAR)


def _serves(packed: Format) -> bool:
    columns = torch.from_numpy(SCHEMA.slot_columns(packed.fields))
    return bool(torch.isfinite(packed.lookup(_ids(20)[:, columns])).all())


def _restored(packed: Format, settings: Any, tensors: Mapping[str, Tensor]) -> Format | None:
    """The restored format; ``None`` where ``restore`` refuses."""
    try:
        return type(packed).restore(SCHEMA, packed.fields, packed.width, settings, tensors)
    except ArtifactError:
        return None


def lies(settings: Any) -> Iterator[Any]:
    """The settings with one value replaced, removed or added, anywhere in them."""
    if isinstance(settings, dict):
        yield {**settings, "stray": 1}
        for key, value in settings.items():
            yield {k: v for k, v in settings.items() if k != key}
            yield from ({**settings, key: lie} for lie in lies(value))
    elif isinstance(settings, list):
        yield settings[:-1]
        yield settings * 2
        for i, value in enumerate(settings):
            yield from ([*settings[:i], lie, *settings[i + 1 :]] for lie in lies(value))
    else:
        values: list[Any] = [-1, 0, 1, 7, 10**30, "x", None, [], True, 1.5, "int8"]
        yield from (lie for lie in values if lie != settings)
