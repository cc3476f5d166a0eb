"""Keeps MLflow up to date beside the runs: in a thread, because a record takes longer than starting a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sharkbench.runner.events import Event, Message
from sharkbench.runner.failures import one_line
from sharkbench.store import Store
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec
from sharkbench.tracking import Tracker, without_secrets


class Tracked:
    """Records what lands in the store. A failure is told at the end and costs nothing but the record.

    Args:
        specs: the plan; what is stored of it and was never recorded, is recorded at the end.
    """

    def __init__(
        self, suite: Suite, store: Store, specs: Sequence[RunSpec], invocation: str, watch: Callable[[Event], None]
    ) -> None:
        self.suite, self.store, self.invocation, self.watch = suite, store, invocation, watch
        self.keys = [spec.key for spec in specs]
        self._tracker: Tracker | None = None
        self._broken = not suite.tracking.enabled
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracking")
        self._submit(self._open)

    def stored(self, key: str) -> None:
        """A run or its speed has been stored."""
        self._submit(lambda: self._open().add(key))

    def close(self, *, interrupted: bool) -> None:
        """Record what is missing and end the invocation's own record."""

        def finish() -> None:
            # Once more and all of it, even after a failure: what is recorded already is not recorded twice.
            tracker = self._open()
            for key in self.keys:
                tracker.add(key)
            tracker.close(interrupted=interrupted)

        if self.suite.tracking.enabled:
            try:
                self._thread.submit(finish).result()
            except Exception as error:
                reason = without_secrets(one_line(error))
                advice = f"'sharkbench track {self.suite.name}' records them later"
                self.watch(Message(f"MLflow could not record everything ({reason}); the results are stored, {advice}"))
        self._thread.shutdown(cancel_futures=True)

    def _open(self) -> Tracker:
        if self._tracker is None:
            self._tracker = Tracker(self.suite, self.store, self.invocation)
        return self._tracker

    def _submit(self, work: Callable[[], object]) -> None:
        def attempt() -> None:
            if not self._broken:
                try:
                    work()
                except Exception:  # told at the end, if it still fails then
                    self._broken = True

        self._thread.submit(attempt)
