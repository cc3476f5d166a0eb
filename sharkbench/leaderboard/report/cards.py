"""What is known of methods beside their results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCard:
    """What a method says of itself."""

    title: str
    paper: str
    year: int
    family: str
    description: str
