"""The suites of the BARS recipes state what was published, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sharkbench.suite.load import load
from sharkbench.suite.model import Suite

FOLDER = Path(__file__).resolve().parent.parent.parent / "suites" / "bars"
PLAIN: dict[str, Any] = {"batch_norm": True, "hidden": (400, 400, 400)}

# By data set and backbone: L2 of the embeddings, published AUC, settings of the backbone.
PUBLISHED: dict[str, dict[str, tuple[float, float, dict[str, Any]]]] = {
    "frappe_x1": {
        "dnn": (0.05, 0.98405, {**PLAIN, "dropout": 0.2}),
        "deepfm": (0.05, 0.98395, {**PLAIN, "dropout": 0.2}),
        "dcn": (0.05, 0.98342, {**PLAIN, "dropout": 0.2, "cross_layers": 3}),
        "dcnv2": (0.05, 0.98382, {**PLAIN, "dropout": 0.4, "cross_layers": 4}),
        "fm": (5e-6, 0.96711, {}),
    },
    "movielenslatest_x1": {
        "dnn": (0.005, 0.96768, {**PLAIN, "dropout": 0.4}),
        "deepfm": (0.01, 0.96822, {**PLAIN, "dropout": 0.3}),
        "dcn": (0.01, 0.96836, {**PLAIN, "dropout": 0.2, "cross_layers": 4}),
        "dcnv2": (0.01, 0.96866, {**PLAIN, "dropout": 0.2, "cross_layers": 5}),
        "fm": (5e-6, 0.94344, {}),
    },
    "criteo_x1": {
        "dnn": (1e-5, 0.81368, {**PLAIN, "dropout": 0.1, "batch_norm": False}),
        "deepfm": (1e-5, 0.81381, {**PLAIN, "dropout": 0.1}),
        "dcn": (1e-5, 0.81377, {**PLAIN, "dropout": 0.1, "batch_norm": False, "cross_layers": 3}),
        "dcnv2": (1e-5, 0.81394, {"hidden": (500,) * 3, "dropout": 0.1, "batch_norm": False, "cross_layers": 3}),
        "fm": (5e-6, 0.80216, {}),
    },
    "avazu_x1": {
        "dnn": (0.01, 0.76330, {**PLAIN, "dropout": 0.1, "batch_norm": False}),
        "deepfm": (0.1, 0.76459, {**PLAIN, "dropout": 0.3}),
        "dcn": (0.05, 0.76381, {**PLAIN, "dropout": 0.1, "batch_norm": False, "cross_layers": 3}),
        "dcnv2": (0.05, 0.76364, {**PLAIN, "dropout": 0.2, "cross_layers": 5}),
        "fm": (1e-5, 0.76125, {}),
    },
}


def test_there_is_a_suite_for_every_data_set() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.yaml")) == sorted(PUBLISHED)


@pytest.fixture(params=PUBLISHED)
def suite(request: pytest.FixtureRequest) -> Suite:
    return load(FOLDER / f"{request.param}.yaml")


def test_every_knob_of_the_recipe_is_stated(suite: Suite) -> None:
    assert (suite.dimension, len(suite.seeds)) == (10, 5)
    (dataset,) = suite.datasets
    assert dataset.spec.name == suite.name
    assert dataset.spec.min_count == 1
    assert {entry.spec.name for entry in suite.backbones} == set(PUBLISHED[suite.name])
    for entry in suite.backbones:
        l2, _, settings = PUBLISHED[suite.name][entry.spec.name]
        recipe = suite.recipe(dataset, entry)
        assert recipe.embedding_l2 == l2
        assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size) == ("adam", 1e-3, 4096)
        assert (recipe.init_std, recipe.clip_norm, recipe.network_l2) == (1e-4, 10, 0)
        assert (recipe.monitor, recipe.patience, recipe.lr_factor) == ("auc", 2, 0.1)
        assert {name: getattr(entry.spec, name) for name in settings} == settings


def test_every_result_has_its_published_value(suite: Suite) -> None:
    assert {(r.dataset, r.backbone): r.value for r in suite.references} == {
        (suite.name, backbone): auc for backbone, (_, auc, _) in PUBLISHED[suite.name].items()
    }
    for reference in suite.references:
        assert (reference.method, reference.metric) == ("full", "auc")
        assert 0.001 <= reference.tolerance <= 0.002
        assert "BARS" in reference.source
