"""Events of a search for observers, besides the events of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sharkbench.runner.events import Event
from sharkbench.search.study import Finished, Search
from sharkbench.search.trials import Running


@dataclass(frozen=True)
class SearchesOpened:
    """All studies are open; trials that ended in an earlier call are in them."""

    searches: tuple[Search, ...]


@dataclass(frozen=True)
class TrialStarted:
    """The runs of a trial are planned; some may be stored already."""

    search: Search
    trial: Running


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended, and the sampler knows its outcome."""

    search: Search
    trial: Finished


SearchEvent: TypeAlias = Event | SearchesOpened | TrialStarted | TrialEnded
