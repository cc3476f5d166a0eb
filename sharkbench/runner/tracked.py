"""Records runs in MLflow in a background thread, because a record takes longer than starting a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sharkbench.results.store import Store
from sharkbench.runner.events import Event, Message
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec
from sharkbench.tracking import DATABASE, UNTRACKED, Tracker, reason, tracking_uri


class Tracked:
    """Records stored runs. A failure is reported at the end and affects nothing but the record.

    Args:
        specs: the plan. Its stored runs without a record are recorded at the end.
        work: whether anything will be stored. If not, only records that an earlier call left out are written.
    """

    def __init__(
        self,
        suite: Suite,
        store: Store,
        specs: Sequence[RunSpec],
        invocation: str,
        watch: Callable[[Event], None],
        *,
        work: bool,
    ) -> None:
        self.suite, self.store, self.invocation, self.watch = suite, store, invocation, watch
        self.keys = [spec.key for spec in specs]
        self._tracker: Tracker | None = None
        self._broken = False
        self._marker = store.out / UNTRACKED
        lost = not suite.tracking.uri and not (store.out / DATABASE).exists()
        self._on = suite.tracking.enabled and (work or lost or self._marker.exists())
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracking")
        if self._on:
            with contextlib.suppress(OSError):
                self._marker.touch()
            self._submit(self._open)

    def stored(self, key: str) -> None:
        """Queue the record of a stored run."""
        self._submit(lambda: self._open().add(key))

    def drain(self) -> None:
        """Wait until all queued runs are recorded: nothing else should run during timing."""
        if self._on:
            self._thread.submit(lambda: None).result()

    def close(self, *, interrupted: bool) -> None:
        """Record missing runs and speeds, and end the record of the invocation. After an interrupt, missing records are
        left to the next call."""

        def finish() -> str:
            # Record everything again, even after a failure: existing records are not duplicated.
            tracker = self._open()
            for key in () if interrupted else self.keys:
                tracker.add(key)
            tracker.close(interrupted=interrupted)
            if not interrupted:
                self._marker.unlink(missing_ok=True)
            return tracker.refusals()

        if self._on and not (interrupted and self._tracker is None):
            try:
                if refused := self._thread.submit(finish).result():
                    self.watch(Message(refused))
            except Exception as error:
                why = reason(error, tracking_uri(self.suite, self.store.out))
                advice = f"'sharkbench track {self.suite.name}' records them later"
                if not self.suite.tracking.uri:
                    advice += f" (if {self.store.out / DATABASE} is damaged, delete it first)"
                self.watch(Message(f"MLflow could not record everything ({why}); the results are stored, {advice}"))
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
                except Exception:  # reported at the end, if it still fails then
                    self._broken = True

        if self._on:
            self._thread.submit(attempt)
