"""What is known of methods beside their results."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from sharkbench import registry


@dataclass(frozen=True)
class MethodCard:
    """What a method says of itself."""

    title: str
    paper: str
    year: int
    family: str
    description: str


def method_cards() -> dict[str, MethodCard]:
    """A card for every method that can be imported here, by name."""
    return {
        name: MethodCard(method.title, method.paper, method.year, method.family, inspect.getdoc(method) or "")
        for name, method in registry.available().items()
    }
