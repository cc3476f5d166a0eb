"""The artifact that users deploy: safetensors files whose headers describe the tensors. Nothing is pickled.

``packed.safetensors`` holds the tensors of the packed layer and, in its header, the schema, the formats and their
settings; ``backbone.safetensors`` holds the backbone's weights and config. Loading executes no code from a file and
checks everything in it.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sharkbench.backbones import BackboneConfig, BackboneShape, build, width
from sharkbench.data import schema as data_schema
from sharkbench.data.mapped import leave
from sharkbench.errors import ArtifactError, InputError
from sharkbench.files.digests import SEAL, Damaged, check
from sharkbench.files.durable import replacing
from sharkbench.formats.base import Format
from sharkbench.formats.layer import PackedLayer, Unknown
from sharkbench.formats.registry import UnknownFormat, providers
from sharkbench.model.model import PackedModel

PACKED, BACKBONE = "packed.safetensors", "backbone.safetensors"
VERSION = 2
_KEY = "sharkbench"
_MAX_HEADER = 32 << 20
_MAX_SLOTS = 1 << 16
_PART = 1 << 21
"""Values read at a time."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FieldMetadata(_Strict):
    name: str
    cardinality: int = Field(ge=1, lt=1 << 40)
    slots: int = Field(ge=1, le=_MAX_SLOTS)
    pooling: str = Field(pattern="^(mean|sum)$")


class SchemaMetadata(_Strict):
    fields: tuple[FieldMetadata, ...] = Field(min_length=1, max_length=_MAX_SLOTS)
    labels: tuple[str, ...]
    dense: tuple[str, ...]


class PartMetadata(_Strict):
    kind: str
    fields: tuple[int, ...]
    settings: dict[str, Any]
    provider: str = Field(default="", max_length=200)
    """The package or folder that provides its format, where that is not this package."""


class PackedMetadata(_Strict):
    """The header of ``packed.safetensors``."""

    version: int
    fingerprint: str
    """Fingerprint of the data set that the table was trained on."""
    width: int = Field(ge=1, le=1 << 16)
    model_schema: SchemaMetadata = Field(alias="schema")
    parts: tuple[PartMetadata, ...]
    extra: dict[str, Any]


class ShapeMetadata(_Strict):
    num_fields: int = Field(ge=0, le=_MAX_SLOTS)
    dimension: int = Field(ge=1, le=1 << 16)
    num_dense: int = Field(ge=0, le=1 << 20)
    num_labels: int = Field(ge=1, le=1 << 16)


class BackboneMetadata(_Strict):
    """The header of ``backbone.safetensors``."""

    version: int
    config: BackboneConfig
    shape: ShapeMetadata


def save(
    model: PackedModel,
    folder: Path,
    *,
    fingerprint: str,
    backbone: BackboneConfig | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write both files into ``folder`` (created if missing), each by an atomic rename.

    Args:
        fingerprint: of the data set that the model was trained on.
        backbone: config of the model's backbone; the backbone's own where not given.
        extra: plain JSON values to store as well (method, budget, run key ...).
    """
    layer, network = model.layer, model.backbone
    metadata = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "width": layer.width,
        "schema": layer.schema.to_json(),
        "parts": [_described(part) for part in layer.formats],
        "extra": dict(extra or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / PACKED, layer.state_dict(), metadata)
    shape: BackboneShape = network.shape  # type: ignore[assignment]
    config: BaseModel = backbone or network.config  # type: ignore[assignment]
    about = {"version": VERSION, "config": config.model_dump(mode="json"), "shape": vars(shape)}
    _write(folder / BACKBONE, network.state_dict(), about)


def load(path: Path | str, unknown: Unknown = "raise") -> PackedLayer:
    """The packed layer in ``path`` (a file, or a folder that :func:`save` wrote), ready to serve.

    Args:
        unknown: how ids out of range are handled, see :class:`PackedLayer`.

    Raises:
        ArtifactError: the file is missing, truncated or corrupted, contradicts its header, or is not as its run wrote
            it.
    """
    if unknown not in get_args(Unknown):
        raise InputError(f"unknown={unknown!r} is none of {', '.join(get_args(Unknown))}")
    file = _as_written(_file(path, PACKED))
    # In any mode of the caller, a table consists of ordinary tensors with content.
    with torch.inference_mode(False), torch.device("cpu"), _opened(file) as (metadata, tensors):
        said = _parse(TypeAdapter(PackedMetadata), metadata, file)
        _check_version(said.version, file)
        try:
            return _layer(said, tensors, unknown)
        except ArtifactError as error:
            raise ArtifactError(f"{file}: {error}") from None


def load_model(folder: Path | str, unknown: Unknown = "raise") -> PackedModel:
    """Packed layer and backbone in evaluation mode: ids ``[B, S]``, dense inputs ``[B, K]`` to logits ``[B, T]``."""
    layer = load(folder, unknown)
    file = _as_written(_file(folder, BACKBONE))
    with _opened(file) as (metadata, tensors):
        said = _parse(TypeAdapter(BackboneMetadata), metadata, file)
        _check_version(said.version, file)
        shape, schema = said.shape, layer.schema
        wanted = (len(layer.fields), len(schema.dense), len(schema.labels))
        if (shape.num_fields, shape.num_dense, shape.num_labels) != wanted or (
            width(said.config, shape.dimension, shape.num_labels) != layer.width
        ):
            raise ArtifactError(f"{file} does not go with the table beside it; save both together")
        return PackedModel(layer, _backbone(said, tensors, file))


def inspect(path: Path | str) -> PackedMetadata:
    """The header, without reading the tensors."""
    file = _file(path, PACKED)
    with _opened(file) as (metadata, _):
        return _parse(TypeAdapter(PackedMetadata), metadata, file)


def tensor_bytes(path: Path | str, name: str = PACKED) -> int:
    """Bytes of all tensors of a file, its size without the header."""
    file = _file(path, name)
    return file.stat().st_size - 8 - _header_size(file)


def _write(file: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    alone: dict[str, Tensor] = {}
    for name, tensor in state.items():
        tensor, taken = tensor.detach().cpu(), {other.data_ptr() for other in alone.values()}
        # safetensors refuses tensors that share memory, and a view would drag its whole storage along.
        stands_alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        if not stands_alone or tensor.data_ptr() in taken:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        alone[name] = tensor
    with replacing(file) as partial:
        save_file(alone, partial, metadata={_KEY: json.dumps(metadata, allow_nan=False)})


def _described(part: Format) -> dict[str, Any]:
    said = {"kind": part.kind, "fields": list(part.fields), "settings": part.describe()}
    return {**said, "provider": came_with} if (came_with := providers([part])) else said


def _file(path: Path | str, name: str) -> Path:
    path = Path(path)
    file = path / name if path.is_dir() else path if name == PACKED else path.with_name(name)
    if not file.is_file():
        raise ArtifactError(f"{file} does not exist; give the folder of a run, or its {name}")
    return file


def _as_written(file: Path) -> Path:
    """The file, compared with the digest that its run wrote beside it; a file that was moved has no digest.

    Raises:
        Damaged: its bytes have changed.
    """
    if (file.parent / SEAL).is_file():
        try:
            check(file.parent, (file.name,))
        except Damaged as error:
            raise Damaged(f"{error}; get it again, or let its run make it again") from None
    return file


def _header_size(file: Path) -> int:
    with file.open("rb") as stream:
        start = stream.read(8)
    size = file.stat().st_size
    if len(start) < 8 or struct.unpack("<Q", start)[0] > min(size - 8, _MAX_HEADER):
        raise ArtifactError(f"{file} is truncated or no safetensors file; get it again")
    return int(struct.unpack("<Q", start)[0])


class _Tensors(Mapping[str, Tensor]):
    """The tensors of an open file, read on access."""

    def __init__(self, handle: Any) -> None:
        self._handle, self._names = handle, list(handle.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        # A copy: the file may change or vanish later, the table may not. A part at a time, so that the mapped file
        # does not lie in memory beside it.
        mapped: Tensor = self._handle.get_tensor(name)
        copied = torch.empty_like(mapped, memory_format=torch.contiguous_format)
        for source, target in zip(mapped.view(-1).split(_PART), copied.view(-1).split(_PART), strict=True):
            target.copy_(source)
            leave(source)
        return copied

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Mapping[str, Tensor]]]:
    _header_size(file)
    try:
        with safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get(_KEY)
            if text is None:
                raise ArtifactError(f"{file} is a safetensors file of something else: it has no '{_KEY}' metadata")
            yield json.loads(text, parse_constant=_no_constant), _Tensors(handle)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{file} is truncated or corrupted ({error}); get it again") from None
    except (ValueError, RecursionError):
        raise ArtifactError(f"{file}: its metadata is no JSON; get it again") from None


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _parse(adapter: TypeAdapter[Any], metadata: Any, file: Path) -> Any:
    try:
        return adapter.validate_python(metadata)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "metadata"
        if first["type"] == "union_tag_invalid":
            raise ArtifactError(f"{file}, {place}: {first['msg']}; what it came with is needed here too") from None
        raise ArtifactError(f"{file}, {place}: {first['msg']}; the file is damaged") from None


def _check_version(version: int, file: Path) -> None:
    if version != VERSION:
        raise ArtifactError(f"{file} has version {version}, this sharkbench reads {VERSION}; use the one that wrote it")


def _layer(said: PackedMetadata, tensors: Mapping[str, Tensor], unknown: Unknown) -> PackedLayer:
    if sum(f.slots for f in said.model_schema.fields) > _MAX_SLOTS:
        raise ArtifactError(f"more than {_MAX_SLOTS} slots; the file is damaged")
    schema = data_schema.Schema.from_json(said.model_schema.model_dump())
    parts = [(part.kind, part.fields, part.settings) for part in said.parts]
    try:
        return PackedLayer.restore(schema, said.width, parts, tensors, unknown)
    except UnknownFormat as error:
        came_with = ", ".join(dict.fromkeys(part.provider for part in said.parts if part.provider))
        raise ArtifactError(f"{error}{came_with and f'; it came with {came_with}, which is needed here too'}") from None


def _backbone(said: BackboneMetadata, tensors: Mapping[str, Tensor], file: Path) -> nn.Module:
    shape = BackboneShape(**said.shape.model_dump())
    # The meta device allocates nothing, so a config with a false size takes no memory.
    with torch.device("meta"):
        expected = build(said.config, shape).state_dict()
    for name in set(expected) | set(tensors):
        if name not in expected or name not in tensors or expected[name].shape != tensors[name].shape:
            raise ArtifactError(f"{file}: tensor '{name}' does not fit the backbone's config; the file is damaged")
    state = {name: tensors[name] for name in expected}
    for name, tensor in state.items():
        if tensor.dtype != expected[name].dtype or (tensor.is_floating_point() and not torch.isfinite(tensor).all()):
            raise ArtifactError(f"{file}: tensor '{name}' is of another type or not finite; the file is damaged")
    network = build(said.config, shape)
    network.load_state_dict(state)
    return network
