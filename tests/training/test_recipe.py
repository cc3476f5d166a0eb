"""The recipe states every knob of BARS, refuses what it does not know, and survives JSON."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sharkbench.training.recipe import Recipe


def test_states_the_recipe_of_bars() -> None:
    frappe = Recipe.model_validate(
        {
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "batch_size": 4096,
            "epochs": 100,
            "embedding_l2": 0.05,
            "network_l2": 0,
            "clip_norm": 10,
            "init_std": 1e-4,
            "monitor": "auc",
            "patience": 2,
            "lr_factor": 0.1,
            "validations_per_epoch": 1,
        }
    )
    assert Recipe.model_validate_json(frappe.model_dump_json()) == frappe
    assert not frappe.sparse


@pytest.mark.parametrize(
    "wrong", [{"learning_rat": 1}, {"epochs": 0}, {"lr_factor": 0}, {"optimizer": "adamw"}, {"init_std": float("nan")}]
)
def test_refuses_what_cannot_be_meant(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)


def test_every_key_is_documented() -> None:
    schema = Recipe.model_json_schema()
    assert all(entry.get("description") for entry in schema["properties"].values())
