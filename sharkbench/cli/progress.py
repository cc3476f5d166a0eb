"""Progress of a suite: a live display on a terminal, one line per finished run elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sharkbench.cli.console import console, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sharkbench.results.metrics import Metric, Quality
    from sharkbench.results.records import Epoch, Result
    from sharkbench.runner.events import Event
    from sharkbench.suite.run import RunSpec


def run_name(spec: RunSpec) -> str:
    budget = f" at {spec.budget}" if spec.budget else ""
    return f"{spec.dataset.name}, {spec.backbone.name}, {spec.method_label}{budget}, seed {spec.seed}"


class Progress:
    """Shows the events of ``run_suite`` on stderr: pass it as ``on_event`` within a ``with`` block."""

    def __init__(self, runs: Sequence[RunSpec], jobs: int, to: Console | None = None) -> None:
        from rich.live import Live

        from sharkbench.suite.costs import Costs

        self.console = to or console(stderr=True)
        self.names = {run.key: run_name(run) for run in runs}
        self.metrics = {run.key: run.task.primary for run in runs}
        self.jobs, self.ended, self.cached, self.failed, self.measured = jobs, 0, 0, 0, 0
        self.left = {run.key: run for run in runs}
        self.costs = Costs()
        self.current: dict[str, tuple[float, str]] = {}
        self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def __call__(self, event: Event) -> None:
        from sharkbench.runner import events

        match event:
            case events.RunStarted(spec):
                self._begin(spec.key, "starting")
            case events.EpochEnded(key, epoch):
                started = self.current[key][0] if key in self.current else time.monotonic()
                self.current[key] = (started, _epoch(epoch, self.metrics[key]))
            case events.RunEnded(result, cached):
                self._ended(result, cached)
            case events.MeasureStarted(key):
                if not self.measured and not self.console.is_terminal:
                    self._print("timing lookups")
                self._begin(key, "timing lookups")
                self.measured += 1
            case events.MeasureEnded(key):
                self.current.pop(key, None)
            case events.Message(text):
                self._print(text)

    def time_left(self) -> float | None:
        """Estimated seconds left: each remaining run is estimated from similar runs that have ended in this call."""
        guesses = [seconds for run in self.left.values() if (seconds := self.costs.guess(run)) is not None]
        return len(self.left) * sum(guesses) / len(guesses) / self.jobs if guesses else None

    def _begin(self, key: str, state: str) -> None:
        # The display starts with the first run: data preparation has its own bars.
        if self.console.is_terminal and not self.live.is_started:
            self.live.start()
        self.current[key] = (time.monotonic(), state)

    def _ended(self, result: Result, cached: bool) -> None:
        self.ended += 1
        self.left.pop(result.key, None)
        self.failed += result.status == "failed"
        if cached:
            self.cached += 1
            return
        started, _ = self.current.pop(result.key, (None, ""))
        seconds = time.monotonic() - started if started else result.seconds
        self.costs.add(result.model_copy(update={"seconds": seconds}))
        name = self.names.get(result.key, result.key)
        self._print(f"[{self.ended}/{len(self.names)}] {name}: {_outcome(result)}, {duration(seconds)}")

    def _print(self, text: str) -> None:
        from rich.text import Text

        with contextlib.suppress(OSError):  # the reader of stderr has gone, or its disk is full
            self.console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        left = self.time_left()
        facts = [f"{self.ended} of {len(self.names)} runs"]
        facts += [f"{self.cached} done before"] * bool(self.cached) + [f"{self.failed} failed"] * bool(self.failed)
        facts += [f"about {duration(left)} left"] if left else []
        facts += [f"timing lookups of run {self.measured}"] if self.measured else []
        head = Table.grid(padding=(0, 1))
        head.add_row(ProgressBar(total=max(len(self.names), 1), completed=self.ended, width=24), Text(", ".join(facts)))
        lines = [
            Text(f"  {self.names.get(key, key)}: {state}, {duration(time.monotonic() - started)}")
            for key, (started, state) in list(self.current.items())
        ]
        return Group(head, *lines)


def _epoch(epoch: Epoch, metric: Metric) -> str:
    return f"{epoch.stage} epoch {epoch.epoch}, {_by_label(epoch.valid, metric)}"


def _by_label(quality: Quality, metric: Metric) -> str:
    known = [(label, values[metric.name]) for label, values in quality.items() if metric.name in values]
    return f"{metric.title} {', '.join(f'{label} {metric.text(value)}' for label, value in known)}"


def _outcome(result: Result) -> str:
    if result.status != "ok":
        kind = f" ({result.kind})" if result.kind else ""
        return f"{result.status}{kind}: {result.reason}"
    return f"{_by_label(result.quality, result.metric)}, {result.bytes_ratio:.3f} of fp32"
