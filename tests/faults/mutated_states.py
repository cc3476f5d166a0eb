"""State dicts and artifacts that are damaged, and what comes of loading them and looking up.

``python -m tests.faults.mutated_states FOLDER FIRST COUNT`` does so with the sanitized kernels of
:mod:`tests.faults.sanitized` and prints what each mutant came to, a line of JSON each.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32),
    *(torch.int64, torch.bool, torch.complex64),
)


def _raw(tensor: Tensor) -> Tensor:
    numbers = tensor.contiguous()
    return numbers.as_strided((numbers.numel(),), (1,)).view(torch.uint8)


def _bytes(tensor: Tensor, chance: random.Random) -> Tensor:
    """Some bytes replaced."""
    made = tensor.clone()
    raw = _raw(made)
    for _ in range(chance.choice([1, 1, 3, 50]) if raw.numel() else 0):
        raw[chance.randrange(raw.numel())] = chance.randrange(256)
    return made


def _noise(tensor: Tensor, chance: random.Random) -> Tensor:
    made = tensor.clone()
    raw = _raw(made)
    raw.copy_(torch.tensor(list(chance.randbytes(raw.numel())), dtype=torch.uint8))
    return made


def _extremes(tensor: Tensor, chance: random.Random) -> Tensor:
    made = tensor.clone()
    _raw(made).fill_(chance.choice([0, 1, 127, 128, 255]))
    return made


def _rows(tensor: Tensor, chance: random.Random) -> Tensor:
    count = len(tensor)
    return torch.cat([tensor, tensor])[: chance.choice([0, 1, count - 1, count + 1, 2 * count])].clone()


MUTATIONS: dict[str, Callable[[Tensor, random.Random], Any]] = {
    "bytes": _bytes,
    "noise": _noise,
    "extremes": _extremes,
    "rows": _rows,
    "type": lambda t, chance: t.to(chance.choice(TYPES)),
    "bits of another type": lambda t, chance: _raw(t).clone(),
    "shape": lambda t, chance: t.reshape(chance.choice([(-1,), (1, -1), (-1, 1)]) if t.numel() else (0,)),
    "turned": lambda t, chance: t.T if t.dim() == 2 else t.flip(0),
    "strided": lambda t, chance: torch.stack([t, t], -1)[..., 0],
    "expanded": lambda t, chance: t[:1].expand(t.shape) if len(t) else t,
    "shuffled": lambda t, chance: t[
        torch.randperm(len(t), generator=torch.Generator().manual_seed(chance.randrange(99)))
    ],
    "sorted backwards": lambda t, chance: t.flatten().sort(descending=True).values.view(t.shape),
    "no memory": lambda t, chance: torch.empty_like(t, device="meta"),
    "sparse": lambda t, chance: t.to_sparse() if t.numel() else t,
    "no tensor": lambda t, chance: chance.choice([None, 1, "x", [1.0], b"", {}]),
}


def damaged_state(state: Mapping[str, Tensor], chance: random.Random) -> dict[str, Any]:
    """The state with some tensors changed, exchanged, missing or added."""
    damaged: dict[str, Any] = {name: tensor.clone() for name, tensor in state.items()}
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        name = chance.choice(sorted(damaged)) if damaged else "parts.0.x"
        what = chance.choice([*MUTATIONS, *MUTATIONS, "drop", "exchange", "stray"])
        if what == "drop":
            damaged.pop(name, None)
        elif what == "exchange" and damaged:
            damaged[name] = damaged[chance.choice(sorted(damaged))]
        elif what == "stray" or not isinstance(damaged.get(name), Tensor) or damaged[name].layout != torch.strided:
            damaged[chance.choice(["parts.0.stray", "parts.9.table", "", ".", "parts.0.index.x"])] = torch.zeros(3)
        elif not damaged[name].is_meta and damaged[name].dim():
            damaged[name] = MUTATIONS[what](damaged[name], chance)
    return damaged


def load_and_look(layer: Any, state: Mapping[str, Any], chance: random.Random, ids: Tensor) -> None:
    """Load a state in one of the ways there are, into a table that has served or not, and look ids up."""
    if chance.random() < 0.5:
        layer(ids)
    how = chance.choice(["load", "load", "part", "assign each"])
    if how == "load":
        layer.load_state_dict(state, strict=chance.random() < 0.5, assign=chance.random() < 0.5)
    elif how == "part":
        own = {name.removeprefix("parts.0."): tensor for name, tensor in state.items() if name.startswith("parts.0.")}
        layer.parts[0].load_state_dict(own, strict=False, assign=chance.random() < 0.5)
    else:
        for name, tensor in state.items():
            path, _, last = name.rpartition(".")
            if name in layer.state_dict() and (tensor is None or isinstance(tensor, Tensor)):
                setattr(layer.get_submodule(path), last, tensor)
    for _ in range(2):
        found = layer.lookup(ids)
        assert found.shape[0] == len(ids)


def try_artifact(layer: Any, folder: Path, chance: random.Random, ids: Tensor) -> None:
    """A saved table with other tensors, or other numbers and words in its header."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    from sharkbench.model import artifact
    from tests.formats.test_contract import save

    save(layer, folder)
    file = folder / artifact.PACKED
    with safe_open(file, framework="pt") as handle:
        said, state = handle.metadata(), {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    if chance.random() < 0.7:
        damaged = damaged_state(state, chance)
        strided = {n: t for n, t in damaged.items() if isinstance(t, Tensor) and t.layout == torch.strided}
        state = {n: t.contiguous().clone() for n, t in strided.items() if not t.is_meta}
    text = said["sharkbench"]
    for _ in range(chance.choice([0, 1, 1, 2])):
        digits = [i for i, sign in enumerate(text) if sign.isdigit()]
        at = chance.choice(digits)
        text = text[:at] + chance.choice(["0", "1", "7", "999", "-1", "null"]) + text[at + 1 :]
    save_file(state, file, metadata={"sharkbench": text})
    loaded = artifact.load(file, unknown="unseen")
    width = loaded.schema.num_slots
    for _ in range(2):
        loaded.lookup(ids.repeat(1, 2)[:, :width] if width <= 2 * ids.shape[1] else ids.new_zeros(3, width))


def main() -> None:
    from tests.faults import sanitized

    sanitized.use()
    from sharkbench.errors import SharkbenchError
    from sharkbench.formats import kernels
    from sharkbench.formats.registry import formats
    from tests.formats.test_casts import packed
    from tests.formats.test_contract import layer_of, random_ids

    assert kernels.compiled is not None
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for seed in range(first, first + count):
        chance = random.Random(seed)
        layer = layer_of(copy.deepcopy(chance.choice(packed(chance.choice(sorted(formats()))))))
        said, what = "served", chance.choice(["state", "state", "artifact"])
        print(json.dumps({"seed": seed, "kind": layer.formats[0].kind, "what": what}), file=sys.stderr, flush=True)
        try:
            if what == "state":
                load_and_look(layer, damaged_state(dict(layer.state_dict()), chance), chance, random_ids())
            else:
                try_artifact(layer, folder, chance, random_ids())
        except SharkbenchError as error:
            said = str(error)
        except RuntimeError as error:  # torch's own report of what is missing or unknown
            if "Error(s) in loading state_dict" not in str(error):
                raise
            said = "reported by torch"
        print(json.dumps({"seed": seed, "what": what, "said": said}), flush=True)


if __name__ == "__main__":
    main()
