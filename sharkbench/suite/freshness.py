"""Whether stored runs were made by the code as it is, or by code that was shown to come to the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from sharkbench.keys.closure import Snapshot, changes, digest_of
from sharkbench.results.records import Result, Speed, State
from sharkbench.results.store import Store
from sharkbench.suite.run import RunSpec, compiled_kernels, present_code


def outdated(spec: RunSpec, speed: Speed, code: Snapshot) -> bool:
    """Whether the formats, their kernels or the timing have changed since the lookups of ``spec`` were timed. Compiled
    kernels are compared where there are some now and were then: which kind ran is told elsewhere."""
    compiled = compiled_kernels()
    other_kernels = bool(compiled and speed.compiled) and compiled != speed.compiled
    return other_kernels or speed.code != spec.timed_by(code)


class Freshness:
    """Of the runs of ``store``, as seen from ``code``. Runs of one digest are looked at once."""

    def __init__(self, store: Store, code: Snapshot | None = None) -> None:
        self.store, self.code = store, code or present_code()
        self._specs: dict[str, RunSpec | None] = {}

    def state(self, result: Result) -> State:
        """``stale`` where the code has changed since and nobody has verified that it comes to the same; also where
        the run's method is not known here, or was stored before there were digests."""
        current = self._current_code(result)
        if current is None or digest_of(current) != result.code:
            return "stale"
        verified = self.store.verified(result.key)
        if verified is None:
            return "fresh"
        return "verified" if verified.same_hardware else "verified on other hardware"

    def outdated(self, result: Result, speed: Speed) -> bool:
        """Whether the formats, their kernels or the timing have changed since the lookups of a run were timed."""
        spec = self._spec(result)
        return spec is None or outdated(spec, speed, self.code)

    def changed(self, result: Result) -> list[str]:
        """Modules of a stale run that have changed since; empty where that is not known."""
        current, before = self._current_code(result), self.store.code(result.key)
        return changes(before, current) if current is not None and before else []

    def present(self, spec: RunSpec) -> RunSpec:
        """The same run, to be done by the code as it is."""
        return spec.by(self.code)

    def _current_code(self, result: Result) -> Mapping[str, str] | None:
        spec = self._spec(result)
        return self.code.closure(spec.roots) if spec is not None else None

    def _spec(self, result: Result) -> RunSpec | None:
        """Of this run, or of another one by the same code: that has the same roots. ``None`` where none is known."""
        if result.code not in self._specs:
            with warnings.catch_warnings(action="ignore"):  # a spec of a method that is gone, or of other settings
                self._specs[result.code] = self.store.spec(result.key)
        return self._specs[result.code]
