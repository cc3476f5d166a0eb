"""Estimates of the seconds of runs from the most similar finished runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from sharkbench.results.records import Result
from sharkbench.suite.run import RunSpec


class Costs:
    """Seconds of finished runs, initialised with ``results`` of any status."""

    def __init__(self, results: Iterable[Result] = ()) -> None:
        self._taken: dict[tuple[str | None, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for result in results:
            self.add(result)

    def add(self, result: Result) -> None:
        """Add a finished run; a run that is not ok is ignored."""
        if result.status == "ok":
            for kind in _kinds(result.data_fingerprint, result.method_label, result.backbone):
                taken = self._taken[kind]
                taken[0] += result.seconds
                taken[1] += 1

    def guess(self, run: RunSpec) -> float | None:
        """Mean seconds of the finished runs most like ``run``: same data, then method and backbone if any has them."""
        for kind in _kinds(run.fingerprint, run.method_label, run.backbone.name):
            if kind in self._taken:
                seconds, runs = self._taken[kind]
                return seconds / runs
        return None


def _kinds(data: str, method: str, backbone: str) -> Iterator[tuple[str | None, ...]]:
    """Groups of similar runs, the most similar first."""
    yield data, method, backbone
    yield data, method, None
    yield data, None, backbone
    yield data, None, None
