"""Parameter counts, shapes, and what every backbone promises about dropped fields."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from sharkbench.backbones import BACKBONES, BackboneConfig, BackboneShape, build, width
from sharkbench.backbones.base import Backbone
from sharkbench.backbones.config import BackboneSettings, DeepSettings

CONFIGS = list(BACKBONES.available().values())
FIELDS, DIMENSION = 5, 4


def small(kind: type[BackboneSettings]) -> BackboneSettings:
    return kind(hidden=(8, 6)) if issubclass(kind, DeepSettings) else kind()


def trained(config: BackboneSettings, dense: int, labels: int, seed: int = 0) -> tuple[Backbone, int]:
    """A backbone in evaluation mode, all of whose parameters and statistics are away from their start."""
    torch.manual_seed(seed)
    w = width(config, DIMENSION, labels)
    backbone = build(config, BackboneShape(FIELDS, w - labels * config.first_order, dense, labels))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.5)
        for name, buffer in backbone.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return backbone.eval(), w


# Frappe_x1 of BARS: 5,389 features, 10 fields, D = 10, MLP 400x3 with batch normalisation; counts as published there.
@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"name": "linear"}, 5_390),
        ({"name": "fm"}, 59_280),
        ({"name": "deepfm"}, 423_280),
        ({"name": "dcn", "cross_layers": 3}, 418_591),
        ({"name": "dcnv2", "cross_layers": 4}, 458_391),
        ({"name": "dnn"}, 417_891),
        ({"name": "widedeep"}, 423_280),
    ],
)
def test_parameter_counts_of_bars(config: dict[str, object], count: int) -> None:
    settings = TypeAdapter(BackboneConfig).validate_python(config)
    dimension = 10 * settings.vectors
    backbone = build(settings, BackboneShape(10, dimension, 0, 1))
    parameters = 5_389 * width(settings, 10, 1) + sum(p.numel() for p in backbone.parameters())
    assert parameters == count


@pytest.mark.parametrize(("labels", "dense"), [(1, 0), (2, 0), (1, 3), (2, 3)])
@pytest.mark.parametrize("kind", CONFIGS)
class TestEveryBackbone:
    def test_gives_one_logit_per_label(self, kind: type[BackboneSettings], labels: int, dense: int) -> None:
        backbone, w = trained(small(kind), dense, labels)
        vectors = torch.randn(7, FIELDS, w, requires_grad=True)
        out = backbone(vectors, torch.randn(7, dense))
        assert out.shape == (7, labels)
        out.sum().backward()
        # Every column of the row is used: none is carried and paid for in vain.
        assert (vectors.grad.abs().sum((0, 1)) > 0).all()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())

    def test_only_given_dense_inputs_matter(self, kind: type[BackboneSettings], labels: int, dense: int) -> None:
        backbone, w = trained(small(kind), dense, labels)
        vectors = torch.randn(7, FIELDS, w)
        same = torch.allclose(backbone(vectors, torch.zeros(7, dense)), backbone(vectors, torch.ones(7, dense)))
        assert same == (dense == 0)

    @pytest.mark.parametrize("keep", [(0, 2, 3), (4, 1), (0, 1, 2, 3, 4)])
    def test_dropping_fields_of_zeros_changes_nothing(
        self, kind: type[BackboneSettings], labels: int, dense: int, keep: tuple[int, ...]
    ) -> None:
        backbone, w = trained(small(kind), dense, labels)
        vectors, inputs = torch.randn(7, FIELDS, w), torch.randn(7, dense)
        vectors[:, [f for f in range(FIELDS) if f not in keep]] = 0
        smaller = backbone.drop_fields(keep)
        torch.testing.assert_close(smaller(vectors[:, list(keep)], inputs), backbone(vectors, inputs))
        # Twice in a row as well: what the first drop left behind is not lost by the second.
        vectors[:, keep[0]] = 0
        least = smaller.drop_fields(range(1, len(keep)))
        torch.testing.assert_close(least(vectors[:, list(keep[1:])], inputs), backbone(vectors, inputs))

    def test_dropping_leaves_the_random_stream_alone(
        self, kind: type[BackboneSettings], labels: int, dense: int
    ) -> None:
        backbone, _ = trained(small(kind), dense, labels)
        before = torch.random.get_rng_state()
        backbone.drop_fields((0, 1))
        assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", CONFIGS)
def test_settings_survive_json(kind: type[BackboneSettings]) -> None:
    config = small(kind)
    assert TypeAdapter(BackboneConfig).validate_json(config.model_dump_json()) == config


def test_fm_is_the_sum_over_pairs() -> None:
    backbone, _ = trained(TypeAdapter(BackboneConfig).validate_python({"name": "fm"}), 0, 1)
    vectors = torch.randn(6, FIELDS, DIMENSION + 1)
    e = vectors[..., :DIMENSION]
    pairs = sum((e[:, i] * e[:, j]).sum(1) for i in range(FIELDS) for j in range(i + 1, FIELDS))
    expected = pairs + vectors[..., DIMENSION].sum(1) + backbone.bias
    torch.testing.assert_close(backbone(vectors, torch.empty(6, 0))[:, 0], expected)


def test_fm_labels_share_their_pairs_at_the_start() -> None:
    torch.manual_seed(0)
    backbone = build(
        TypeAdapter(BackboneConfig).validate_python({"name": "fm"}), BackboneShape(FIELDS, DIMENSION, 0, 2)
    )
    vectors = torch.randn(6, FIELDS, DIMENSION + 2)
    vectors[..., DIMENSION:] = 0
    out = backbone(vectors, torch.empty(6, 0))
    torch.testing.assert_close(out[:, 0], out[:, 1])


def test_dlrm_reads_dot_products_only() -> None:
    backbone, _ = trained(TypeAdapter(BackboneConfig).validate_python({"name": "dlrm", "hidden": (8,)}), 0, 1)
    vectors = torch.randn(6, FIELDS, DIMENSION)
    rotation = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION)).Q
    torch.testing.assert_close(
        backbone(vectors @ rotation, torch.empty(6, 0)), backbone(vectors, torch.empty(6, 0)), rtol=1e-4, atol=1e-4
    )


def test_linear_layers_start_xavier_normal_without_biases() -> None:
    torch.manual_seed(0)
    backbone = build(TypeAdapter(BackboneConfig).validate_python({"name": "dnn"}), BackboneShape(30, 16, 0, 1))
    first = backbone.mlp[0]
    assert first.weight.std().item() == pytest.approx((2 / (480 + 400)) ** 0.5, rel=0.02)
    assert not first.bias.any()
