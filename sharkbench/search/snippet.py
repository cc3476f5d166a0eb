"""A chosen configuration as lines of a suite."""

from __future__ import annotations

from typing import Any

import yaml

from sharkbench.contract.method import Method
from sharkbench.search.space import Configuration
from sharkbench.search.study import Search


def changes(stated: Method, configuration: Configuration) -> dict[str, Any]:
    """Settings that differ from the suite's: the method's by name, others in the form ``train.learning_rate``."""
    before, now = stated.model_dump(mode="json"), configuration.method.model_dump(mode="json")
    method = {name: value for name, value in now.items() if before.get(name) != value}
    train = {f"train.{name}": value for name, value in configuration.train.items()}
    return {**method, **train, **{f"backbone.{name}": value for name, value in configuration.backbone.items()}}


def keys(search: Search, configuration: Configuration, label: str) -> dict[str, Any]:
    """The keys of a suite that state the configuration: ``methods``, ``budgets``, and ``backbones`` if the backbone or
    the recipe is changed."""
    cell = search.cell
    stated = search.entry.spec.model_dump(mode="json", exclude_unset=True)
    chosen = configuration.method.model_dump(mode="json")
    stated |= {name: value for name, value in changes(search.entry.spec, configuration).items() if name in chosen}
    backbone = {**cell.backbone.spec.model_dump(mode="json", exclude_unset=True), **configuration.backbone}
    said: dict[str, Any] = {"methods": [{"name": chosen["name"], **stated, "as": label}]}
    if "pipeline" in stated:
        del said["methods"][0]["name"]
    if configuration.budget is not None:
        said["budgets"] = [configuration.budget.model_dump(mode="json")]
    if configuration.backbone or configuration.train:
        # A backbone's recipe overrides the data set's and the suite's.
        train = {**cell.backbone.train, **configuration.train}
        said["backbones"] = [{"name": cell.backbone.spec.name, **backbone, **({"train": train} if train else {})}]
    return said


def snippet(search: Search, configuration: Configuration, label: str) -> str:
    """YAML to paste into a suite, or below ``extends`` in a suite of its own."""
    text: str = yaml.safe_dump(keys(search, configuration, label), sort_keys=False, default_flow_style=None, width=1000)
    return text
