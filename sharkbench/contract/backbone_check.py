"""Does a backbone keep its contract? The same checks serve ``sharkbench check backbone NAME`` and the tests."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sharkbench.backbones import BACKBONES, BackboneSettings, BackboneShape, build, width
from sharkbench.backbones.base import Backbone
from sharkbench.backbones.registry import parse
from sharkbench.contract.checking import Checks, Outcome, outcomes

FIELDS, DIMENSION = 5, 4
SHAPES = ((1, 0), (2, 0), (1, 3), (2, 3))
"""Labels and dense inputs."""
KEPT = ((0, 2, 3), (4, 1), (0, 1, 2, 3, 4))


def check_backbone(name: str) -> Iterator[Outcome]:
    """Run every check on the backbone called ``name``, with its default settings, one after the other.

    Raises:
        InputError: there is no such backbone.
    """
    yield from outcomes(CHECKS, BACKBONES.get(name))


def _states_itself(kind: type[BackboneSettings]) -> None:
    assert kind.__doc__ not in (None, *(base.__doc__ for base in kind.__mro__[1:])), "no docstring: state the paper"
    silent = [name for name, field in kind.model_fields.items() if name != "name" and not field.description]
    assert not silent, f"setting '{silent[0]}' has no docstring"


def _survives_json(kind: type[BackboneSettings]) -> None:
    again = parse(_settings(kind).model_dump(mode="json"))
    assert again == _settings(kind), f"settings change on the way through JSON: {_settings(kind)!r} became {again!r}"


def _uses_all(kind: type[BackboneSettings]) -> None:
    for labels, dense in SHAPES:
        backbone, row = _trained(kind, labels, dense)
        vectors = torch.randn(7, FIELDS, row, requires_grad=True)
        logits = backbone(vectors, torch.randn(7, dense))
        assert logits.shape == (7, labels), f"logits are {list(logits.shape)}, not [7, {labels}]"
        logits.sum().backward()
        assert vectors.grad is not None, "logits do not depend on the vectors"
        idle = (vectors.grad.abs().sum((0, 1)) == 0).nonzero().flatten().tolist()
        assert not idle, f"column {idle[0]} of {row} of a row has no effect (labels {labels}, dense {dense})"
        for name, parameter in backbone.named_parameters():
            reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert reached, f"parameter '{name}' has no gradient (labels {labels}, dense {dense})"


def _reads_dense_inputs(kind: type[BackboneSettings]) -> None:
    for labels, dense in SHAPES:
        backbone, row = _trained(kind, labels, dense)
        vectors = torch.randn(7, FIELDS, row)
        same = torch.allclose(backbone(vectors, torch.zeros(7, dense)), backbone(vectors, torch.ones(7, dense)))
        assert same == (dense == 0), "dense inputs have no effect" if dense else "logits change by inputs of no columns"


def _drops_fields(kind: type[BackboneSettings]) -> None:
    for labels, dense in SHAPES:
        for keep in KEPT:
            backbone, row = _trained(kind, labels, dense)
            vectors, inputs = torch.randn(7, FIELDS, row), torch.randn(7, dense)
            vectors[:, [f for f in range(FIELDS) if f not in keep]] = 0
            before, smaller = torch.random.get_rng_state(), backbone.drop_fields(keep)
            assert torch.equal(before, torch.random.get_rng_state()), "drop_fields draws from the random stream"
            assert _near(smaller(vectors[:, list(keep)], inputs), backbone(vectors, inputs)), (
                f"without all but fields {keep} logits differ from those with zero vectors"
            )
            # Drop fields twice in a row as well: the second drop must keep the constants that the first left.
            vectors[:, keep[0]] = 0
            least = smaller.drop_fields(range(1, len(keep)))
            assert _near(least(vectors[:, list(keep[1:])], inputs), backbone(vectors, inputs)), (
                "dropping fields twice loses what the first time left behind"
            )


def _survives_saving(kind: type[BackboneSettings]) -> str:
    count = 0
    for labels, dense in SHAPES:
        backbone, row = _trained(kind, labels, dense)
        with torch.device("meta"):
            empty = build(_settings(kind), backbone.shape).state_dict()
        state = backbone.state_dict()
        assert {n: t.shape for n, t in empty.items()} == {n: t.shape for n, t in state.items()}, (
            "its state has other tensors when it is built again, as loading does on the meta device"
        )
        again = build(_settings(kind), backbone.shape)
        again.load_state_dict(state)
        vectors, inputs = torch.randn(7, FIELDS, row), torch.randn(7, dense)
        assert torch.equal(again.eval()(vectors, inputs), backbone(vectors, inputs)), "logits differ after loading"
        count = sum(parameter.numel() for parameter in backbone.parameters())
    return f"{count:,} parameters with {FIELDS} fields of {DIMENSION} numbers, 3 dense inputs and 2 labels"


def _repeats_itself(kind: type[BackboneSettings]) -> None:
    shape = BackboneShape(FIELDS, DIMENSION, 3, 2)
    states: list[dict[str, Tensor]] = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            states.append(build(_settings(kind), shape).state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), f"the same seed gave another '{name}'"


CHECKS: Checks[type[BackboneSettings]] = {
    "states itself and its settings": _states_itself,
    "settings survive JSON": _survives_json,
    "gives a logit per label, by all that it is given": _uses_all,
    "reads dense inputs where there are any": _reads_dense_inputs,
    "fields can be dropped": _drops_fields,
    "survives saving and loading": _survives_saving,
    "same seed, same start": _repeats_itself,
}


def _settings(kind: type[BackboneSettings]) -> BackboneSettings:
    return kind(name=kind.model_fields["name"].default)


def _trained(kind: type[BackboneSettings], labels: int, dense: int) -> tuple[Backbone, int]:
    """A backbone in evaluation mode with all parameters and statistics changed, and the width of a row."""
    torch.manual_seed(0)
    config = _settings(kind)
    row = width(config, DIMENSION, labels)
    backbone = build(config, BackboneShape(FIELDS, DIMENSION if config.vectors else 0, dense, labels))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.5 / max(1, parameter[0].numel() if parameter.dim() > 1 else 1) ** 0.5)
        for name, buffer in backbone.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return backbone.eval(), row


def _near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-4, rtol=1e-4)
