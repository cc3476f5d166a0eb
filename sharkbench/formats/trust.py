"""Whether the tensors of a table are still those that were checked; changed tensors are checked like a file."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from sharkbench.errors import ArtifactError
from sharkbench.formats import kernels
from sharkbench.formats.stored import placed
from sharkbench.formats.watch import tensors_of

Marks = bytes | tuple[Any, ...]
_PLUMBING = frozenset(vars(nn.Module()))


def marks_of(tensors: Sequence[Tensor]) -> Marks:
    """Address, type and shape of each tensor, and how often it was changed in place. Equal marks of the same tensors
    mean that none was replaced, moved, resized or written to through torch."""
    compiled = kernels.compiled
    found: bytes | None = compiled.seal(tuple(tensors)) if compiled is not None else None
    return found if found is not None else tuple(_mark(t) for t in tensors)


def _mark(tensor: Tensor) -> tuple[Any, ...]:
    if tensor.is_meta or tensor.layout != torch.strided:
        return (tensor.device, tensor.layout, object())  # never equal to other marks
    version = None if tensor.is_inference() else tensor._version
    return (tensor.data_ptr(), version, tensor.dtype, tensor.shape, tensor.stride(), tensor.device)


@dataclass(frozen=True)
class Seal:
    """Tensors, and the marks that they had when they were checked."""

    tensors: tuple[Tensor, ...]
    marks: Marks

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        tensors = tuple(tensors_of(module))
        return cls(tensors, marks_of(tensors))

    def holds(self) -> bool:
        return marks_of(self.tensors) == self.marks


def _holders(tensors: tuple[Tensor, ...]) -> list[tuple[int, int, int, int]]:
    """Numbers of references to each tensor in Python and in C++, to its memory, and to its memory's Python object."""
    found = []
    for i in range(len(tensors)):
        memory = tensors[i].untyped_storage()
        uses = tensors[i]._use_count(), torch._C._storage_Use_Count(memory._cdata)  # type: ignore[attr-defined]
        found.append((sys.getrefcount(tensors[i]), *uses, sys.getrefcount(memory)))
    return found


def is_private(seal: Seal, held: Sequence[Tensor]) -> bool:
    """Whether only a module, its seal and its plan (``held``) refer to the tensors or to their memory."""
    alone = _holders((torch.empty(1, device="cpu"),))[0]
    mine = Counter(map(id, held))
    expected = [(alone[0] + 1 + mine[id(t)], *alone[1:]) for t in seal.tensors]
    return _holders(seal.tensors) == expected


class Belief:
    """The tensors and settings of a part that were checked last; it keeps no tensor alive."""

    def __init__(self, part: Any) -> None:
        seal = Seal.of(part)
        self._tensors, self._marks = [weakref.ref(t) for t in seal.tensors], seal.marks
        self._said = _said(part)

    def holds(self, part: Any) -> bool:
        tensors = tuple(tensors_of(part))
        same = len(tensors) == len(self._tensors) and all(r() is t for r, t in zip(self._tensors, tensors, strict=True))
        return same and marks_of(tensors) == self._marks and _said(part) == self._said


def _said(part: Any) -> Any:
    return (id(type(part)), id(part.schema), part.fields, part.width, part.describe())


def check(part: Any) -> None:
    """Check the tensors of a part as ``restore`` checks those of a file, and recompute what is not stored.

    Raises:
        ArtifactError: they do not match the part's settings.
    """
    tensors = strided(part, part.state_dict(keep_vars=True))
    adopt(part, restored(part, tensors), tensors)


def exchange(part: Any, given: Mapping[str, Any], assign: bool) -> None:
    """Replace tensors of a part by others, if these pass the same checks together with the remaining ones."""
    held = part.state_dict(keep_vars=True)
    plain = strided(part, {**held, **given})
    made = restored(part, plain)
    taken = placed(held, {name: plain[name] for name in given}, assign)
    adopt(part, made, {**plain, **taken})


def restored(part: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The part that ``restore`` creates from these tensors and the part's own settings."""
    try:
        on_cpu = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        return type(part).restore(part.schema, part.fields, part.width, part.describe(), on_cpu)
    except ArtifactError as error:
        said = str(error).removesuffix("; the file is damaged")
    except Exception as error:
        said = f"format {part.kind} is no table any more ({(str(error) or type(error).__name__).splitlines()[0]})"
    raise ArtifactError(f"{said}; its tensors or settings were changed, load the table again")


def adopt(part: Any, made: Any, tensors: Mapping[str, Tensor]) -> None:
    """Set ``tensors`` in ``part``, and the attributes of ``made`` that were computed from them and the settings."""
    part.hold(tensors)
    device = next((tensor.device for tensor in tensors.values()), torch.device("cpu"))
    for name, source in made.named_modules():
        target = part.get_submodule(name)
        own = {key: value for key, value in vars(source).items() if key not in _PLUMBING}
        vars(target).update(own)
        for key in source._non_persistent_buffers_set:
            derived = source._buffers[key]
            target._buffers[key] = derived if derived is None else derived.to(device)


def strided(part: Any, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """The same values in contiguous tensors that count their changes."""
    return {name: _strided(part, name, tensor) for name, tensor in tensors.items()}


def _strided(part: Any, name: str, tensor: Any) -> Tensor:
    wrong = None
    if not isinstance(tensor, Tensor):
        wrong = f"is a {type(tensor).__name__}, not a tensor"
    elif tensor.is_meta:
        wrong = "has no content, as after to_empty or on the meta device"
    elif tensor.layout != torch.strided or tensor.is_quantized or not is_plain(tensor):
        wrong = f"is of a kind that holds its numbers in another way ({type(tensor).__name__}, {tensor.layout})"
    elif _reach(tensor) > tensor.untyped_storage().nbytes():
        wrong = "has lost its memory"
    if wrong is not None:
        raise ArtifactError(f"format {part.kind}: tensor '{name}' {wrong}; load_state_dict the table's own tensors")
    with torch.inference_mode(False):
        if tensor.is_inference():
            tensor = tensor.clone()
        plain = tensor.resolve_conj().resolve_neg().contiguous()
    return plain


def _reach(tensor: Tensor) -> int:
    """Bytes of its memory up to its last value."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((size - 1) * stride for size, stride in steps)
    return int(last + 1) * tensor.itemsize if tensor.numel() else 0


def in_order(tensor: Tensor) -> bool:
    """Whether memory holds the values contiguously, not lazily conjugated or negated, and torch counts changes."""
    return (
        tensor.layout == torch.strided
        and not tensor.is_meta
        and not tensor.is_inference()
        and not (tensor.is_conj() or tensor.is_neg())
        and tensor.is_contiguous()
    )


def is_plain(tensor: Tensor) -> bool:
    """Whether torch's own functions access the values directly: the tensor wraps no other tensor."""
    own_dispatch = type(tensor).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl
    return not (
        own_dispatch or torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor)
    )
