"""Whether stored runs were computed by the present code, or by code that was verified to give the same results."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from sharkbench.keys.closure import Snapshot, changes, digest_of
from sharkbench.results.records import Result, Speed, State
from sharkbench.results.store import Store
from sharkbench.suite.run import RunSpec, compiled_kernels, present_code


def outdated(spec: RunSpec, speed: Speed, code: Snapshot) -> bool:
    """Whether the formats, their kernels or the timing code have changed since the lookups of ``spec`` were timed.
    Compiled kernels are compared only if there are some now and were some then; results record which kind ran."""
    compiled = compiled_kernels()
    other_kernels = bool(compiled and speed.compiled) and compiled != speed.compiled
    return other_kernels or speed.code != spec.timed_by(code)


class Freshness:
    """The state of the runs of ``store`` relative to ``code``. Runs with the same digest are examined once."""

    def __init__(self, store: Store, code: Snapshot | None = None) -> None:
        self.store, self.code = store, code or present_code()
        self._specs: dict[str, RunSpec | None] = {}

    def state(self, result: Result) -> State:
        """``stale`` if the code has changed since and was not verified to give the same results; also if the run's
        method is unknown here, or the run was stored before there were digests."""
        current = self._current_code(result)
        if current is None or digest_of(current) != result.code:
            return "stale"
        verified = self.store.verified(result.key)
        if verified is None:
            return "fresh"
        return "verified" if verified.same_hardware else "verified on other hardware"

    def outdated(self, result: Result, speed: Speed) -> bool:
        """Whether the formats, their kernels or the timing code have changed since the lookups of a run were timed."""
        spec = self._spec(result)
        return spec is None or outdated(spec, speed, self.code)

    def changed(self, result: Result) -> list[str]:
        """Modules of a stale run that have changed since; empty if that is unknown."""
        current, before = self._current_code(result), self.store.code(result.key)
        return changes(before, current) if current is not None and before else []

    def present(self, spec: RunSpec) -> RunSpec:
        """The same run, to be computed by the present code."""
        return spec.by(self.code)

    def _current_code(self, result: Result) -> Mapping[str, str] | None:
        spec = self._spec(result)
        return self.code.closure(spec.roots) if spec is not None else None

    def _spec(self, result: Result) -> RunSpec | None:
        """The spec of this run, or of another run by the same code with the same roots. ``None`` if none is known."""
        if result.code not in self._specs:
            with warnings.catch_warnings(action="ignore"):  # the method may be gone, or may have other settings now
                self._specs[result.code] = self.store.spec(result.key)
        return self._specs[result.code]
