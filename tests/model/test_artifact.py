"""Saving, loading, and what loading refuses to believe."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sharkbench.backbones import BackboneShape, build
from sharkbench.backbones.ctr.deepfm import DeepFM
from sharkbench.backbones.ctr.dlrm import DLRM
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import ArtifactError
from sharkbench.files.digests import seal
from sharkbench.formats.codebooks import Codebooks
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed import Composed
from sharkbench.formats.dense import Dense
from sharkbench.formats.index import Hash, quotient
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.sparse import Sparse
from sharkbench.formats.tiered import Tiered
from sharkbench.model import artifact
from sharkbench.model.model import PackedModel

WIDTH = 5
NAMES = ("user", "video", "music", "author", "tab", "hour")
SCHEMA = Schema(tuple(Field(name, 20 + 7 * i) for i, name in enumerate(NAMES)), ("click",), ("age",))


def many_formats() -> PackedLayer:
    """A layer with a format per field, one field pruned."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(SCHEMA.num_rows, WIDTH, generator=generator)
    rows = [table[SCHEMA.offsets[f] : SCHEMA.offsets[f + 1]] for f in range(SCHEMA.num_fields)]
    n = [f.cardinality for f in SCHEMA.fields]
    functions = [[Hash.draw(6, generator)], [quotient(6, n[1])]]
    tables = [torch.randn(6, WIDTH, generator=generator), torch.randn(-(-n[1] // 6), WIDTH, generator=generator)]
    tier = torch.arange(n[3]) % 3
    parts = [
        Dense.pack(SCHEMA, [0], rows[0], "fp16"),
        Composed.pack(SCHEMA, [1], functions, tables, "mult"),
        Sparse.pack(SCHEMA, [2], rows[2] * (rows[2].abs() > 1)),
        Tiered.pack(SCHEMA, [3], rows[3], tier, [RowCodec(), RowCodec(dtype="int8"), None]),
        Codebooks.pack(SCHEMA, [4], torch.arange(n[4])[:, None] % 5, [torch.randn(5, WIDTH, generator=generator)]),
    ]
    return PackedLayer(SCHEMA, WIDTH, parts)


def model(layer: PackedLayer) -> PackedModel:
    config = DeepFM(hidden=(3,))
    return PackedModel(layer, build(config, BackboneShape(len(layer.fields), WIDTH - 1, 1, 1)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    artifact.save(model(many_formats()), folder, fingerprint="abc", extra={"method": "many"})
    return folder


def some_ids(samples: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    columns = [torch.randint(f.cardinality, (samples,), generator=generator) for f in SCHEMA.fields]
    return torch.stack(columns, 1) + torch.from_numpy(SCHEMA.offsets[:-1])


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same tensors under metadata that ``change`` has had its way with."""
    with safe_open(source, framework="pt") as handle:
        metadata = json.loads(handle.metadata()["sharkbench"])
    change(metadata)
    save_file(load_file(source), target, metadata={"sharkbench": json.dumps(metadata)})
    return target


def test_a_saved_model_predicts_the_same(saved: Path) -> None:
    ids, dense = some_ids(), torch.linspace(-1, 1, 50)[:, None]
    assert torch.equal(artifact.load_model(saved)(ids, dense), model_of(saved)(ids, dense))
    assert torch.equal(artifact.load(saved)(ids), many_formats()(ids))
    assert torch.equal(artifact.load(saved / artifact.PACKED)(ids), many_formats()(ids))


def model_of(folder: Path) -> PackedModel:
    fresh = model(many_formats())
    fresh.backbone.load_state_dict(load_file(folder / artifact.BACKBONE))
    return fresh


def test_a_buffer_outside_the_state_survives(tmp_path: Path) -> None:
    layer = many_formats()
    config = DLRM(hidden=(3,), bottom=(3,))
    kept = PackedModel(layer, build(config, BackboneShape(len(layer.fields), WIDTH, 1, 1)))
    artifact.save(kept, tmp_path, fingerprint="abc")
    ids, dense = some_ids(), torch.ones(50, 1)
    assert torch.equal(artifact.load_model(tmp_path)(ids, dense), kept(ids, dense))


def test_the_header_says_what_is_in_it(saved: Path) -> None:
    said = artifact.inspect(saved)
    assert said.fingerprint == "abc"
    assert said.extra == {"method": "many"}
    assert [part.kind for part in said.parts] == ["dense", "composed", "sparse", "tiered", "codebooks"]
    assert artifact.tensor_bytes(saved) == many_formats().nbytes
    assert not list(saved.glob("*.partial"))


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "version": lambda m: m.update(version=99),
    "width": lambda m: m.update(width=6),
    "huge width": lambda m: m.update(width=10**12),
    "no schema": lambda m: m.pop("schema"),
    "stray key": lambda m: m.update(stray=1),
    "more rows": lambda m: m["schema"]["fields"][0].update(cardinality=21),
    "billions of rows": lambda m: m["schema"]["fields"][3].update(cardinality=10**11),
    "no rows": lambda m: m["schema"]["fields"][5].update(cardinality=0),
    "billions of slots": lambda m: m["schema"]["fields"][5].update(slots=10**10),
    "thousands of wide fields": lambda m: m["schema"]["fields"].extend(
        [m["schema"]["fields"][0] | {"slots": 65536}] * 99
    ),
    "pooling": lambda m: m["schema"]["fields"][0].update(pooling="__import__('os')"),
    "field twice": lambda m: m["parts"][0].update(fields=[1]),
    "field that is not": lambda m: m["parts"][0].update(fields=[77]),
    "negative field": lambda m: m["parts"][0].update(fields=[-1]),
    "part without fields": lambda m: m["parts"][0].update(fields=[]),
    "part too few": lambda m: m["parts"].pop(),
    "unknown format": lambda m: m["parts"][0].update(kind="os.system"),
    "other format": lambda m: m["parts"][0].update(kind="int_rows"),
    "settings of another": lambda m: m["parts"][0].update(settings=m["parts"][1]["settings"]),
    "endless modulus": lambda m: m["parts"][1]["settings"]["parts"][0]["functions"][0].update(hash_modulus=10**9),
    "zero modulus": lambda m: m["parts"][1]["settings"]["parts"][1]["functions"][0].update(modulus=0),
}


@pytest.mark.parametrize("lie", LIES)
def test_metadata_that_lies_is_one_clear_error(saved: Path, tmp_path: Path, lie: str) -> None:
    file = rewritten(saved / artifact.PACKED, tmp_path / artifact.PACKED, LIES[lie])
    with pytest.raises(ArtifactError) as caught:
        artifact.load(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["config"].update(hidden=[10**9]),
        lambda m: m["config"].update(name="dcn"),
        lambda m: m["config"].update(name="os.system"),
        lambda m: m["shape"].update(num_fields=4),
        lambda m: m["shape"].update(dimension=3),
        lambda m: m["shape"].update(num_labels=2),
        lambda m: m.pop("shape"),
        lambda m: m.update(version=0),
    ],
)
def test_a_backbone_that_lies_is_one_clear_error(saved: Path, tmp_path: Path, change: Callable[[Any], None]) -> None:
    (tmp_path / artifact.PACKED).write_bytes((saved / artifact.PACKED).read_bytes())
    rewritten(saved / artifact.BACKBONE, tmp_path / artifact.BACKBONE, change)
    with pytest.raises(ArtifactError):
        artifact.load_model(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 7, b"PK\x03\x04 a zip", struct.pack("<Q", 1 << 62) + b"{}", struct.pack("<Q", 2) + b"{}"],
)
def test_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / artifact.PACKED
    file.write_bytes(content)
    with pytest.raises(ArtifactError):
        artifact.load(file)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "NaN", '{"version": Infinity}', "[]", "1" * 5000, '"\ud800"'])
def test_metadata_that_is_no_json_object(saved: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / artifact.PACKED
    save_file(
        load_file(saved / artifact.PACKED), file, metadata={"sharkbench": text.encode("utf-8", "replace").decode()}
    )
    with pytest.raises(ArtifactError):
        artifact.load(file)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        artifact.load(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / artifact.PACKED)
    with pytest.raises(ArtifactError, match="something else"):
        artifact.load(tmp_path)


def test_every_truncation_is_one_clear_error(saved: Path, tmp_path: Path) -> None:
    content, file = (saved / artifact.PACKED).read_bytes(), tmp_path / artifact.PACKED
    for size in {*range(0, len(content), 97), len(content) - 1}:
        file.write_bytes(content[:size])
        with pytest.raises(ArtifactError):
            artifact.load(file)
    file.write_bytes(content + b"\x00")
    with pytest.raises(ArtifactError):
        artifact.load(file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_never_harm(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    """A flipped byte is found, or it makes another table, which serves: finite numbers of the right shape."""
    content = bytearray((saved / artifact.PACKED).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    file = tmp_path / artifact.PACKED
    file.write_bytes(content)
    try:
        layer = artifact.load(file, unknown="unseen")
    except ArtifactError:
        return
    ids = torch.zeros(4, layer.schema.num_slots, dtype=torch.int64)
    ids[1:] = torch.randint(0, layer.schema.num_rows, (3, layer.schema.num_slots))
    assert torch.isfinite(layer.lookup(ids)).all()
    assert layer.nbytes == artifact.tensor_bytes(file)


@pytest.mark.parametrize("name", [artifact.PACKED, artifact.BACKBONE])
def test_an_artifact_that_is_not_what_its_run_has_written_is_refused(tmp_path: Path, name: str) -> None:
    artifact.save(model(many_formats()), tmp_path, fingerprint="abc")
    whole = (tmp_path / name).read_bytes()
    seal(tmp_path, (artifact.PACKED, artifact.BACKBONE))
    artifact.load_model(tmp_path)
    # Finite numbers, of the right type and shape: nothing but the digest tells.
    (tmp_path / name).write_bytes(whole[:-64] + bytes(64))
    with pytest.raises(ArtifactError, match=f"{name} is damaged: its bytes are not those that were written; get it"):
        artifact.load_model(tmp_path)
    (tmp_path / name).write_bytes(whole)
    artifact.load_model(tmp_path)


def test_a_table_that_was_taken_away_from_its_run_needs_no_digest(tmp_path: Path) -> None:
    artifact.save(model(many_formats()), tmp_path / "run", fingerprint="abc")
    seal(tmp_path / "run", (artifact.PACKED, artifact.BACKBONE))
    taken = shutil.copy(tmp_path / "run" / artifact.PACKED, tmp_path / "table.safetensors")
    assert artifact.load(taken).nbytes == artifact.load(tmp_path / "run").nbytes
