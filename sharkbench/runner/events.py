"""What ``run_suite`` tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sharkbench.results.records import Epoch, Result
from sharkbench.suite.run import RunSpec


@dataclass(frozen=True)
class RunStarted:
    """A process works on the run from now on."""

    spec: RunSpec


@dataclass(frozen=True)
class EpochEnded:
    """One training stage of the run has validated."""

    key: str
    epoch: Epoch


@dataclass(frozen=True)
class RunEnded:
    """The run is stored; ``cached`` if it was before."""

    result: Result
    cached: bool


@dataclass(frozen=True)
class RunStopped:
    """The run was given up on the way because whoever asked for it wanted no more of it. Nothing of it is stored."""

    spec: RunSpec
    seconds: float


@dataclass(frozen=True)
class MeasureStarted:
    """The lookups of the run are being timed; nothing else runs meanwhile."""

    key: str


@dataclass(frozen=True)
class MeasureEnded:
    """The run has a speed now, or the reason why it has none."""

    key: str


@dataclass(frozen=True)
class Message:
    """One line for a person."""

    text: str


Event: TypeAlias = RunStarted | EpochEnded | RunEnded | RunStopped | MeasureStarted | MeasureEnded | Message
