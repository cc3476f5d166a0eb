"""Progress of a search: a live table on a terminal, one line per finished trial elsewhere."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sharkbench.cli.console import console, duration
from sharkbench.cli.progress import run_name

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sharkbench.search.events import SearchEvent
    from sharkbench.search.study import Finished, Search
    from sharkbench.search.trials import Outcome
    from sharkbench.suite.run import RunSpec


class SearchProgress:
    """Shows the events of ``run_search`` on stderr: pass it as ``on_event`` within a ``with`` block."""

    def __init__(self, jobs: int, to: Console | None = None) -> None:
        from rich.live import Live

        self.console, self.jobs, self.began = to or console(stderr=True), jobs, time.monotonic()
        self.searches: tuple[Search, ...] = ()
        self.before = 0
        """Number of trials that had ended when the search was opened."""
        self.current: dict[str, tuple[float, RunSpec, str]] = {}
        self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def __call__(self, event: SearchEvent) -> None:
        from sharkbench.runner import events
        from sharkbench.search.events import SearchesOpened, TrialEnded

        match event:
            case SearchesOpened(searches):
                self.searches = searches
                self.before = self._ended
                if self.before:
                    self._print(f"going on where {self.before} trials had ended")
                if self.console.is_terminal:
                    self.live.start()
            case TrialEnded(search, trial):
                self._print(f"[{self._ended}/{self._most or '?'}] {search.name}: {self._told(search, trial)}")
            case events.RunStarted(spec):
                self.current[spec.key] = (time.monotonic(), spec, "starting")
            case events.EpochEnded(key, epoch) if key in self.current:
                since, spec, _ = self.current[key]
                metric = spec.task.primary
                told = f"{metric.title} {metric.text(metric.mean(epoch.valid))}"
                self.current[key] = (since, spec, f"{epoch.stage} epoch {epoch.epoch}, {told}")
            case events.RunEnded(result, cached):
                begun = self.current.pop(result.key, None)
                if begun and begun[1].judged_on == "test" and not cached:
                    self._print(f"measured with the suite's own seeds: {run_name(begun[1])}, {result.status}")
            case events.RunStopped(spec, _):
                self.current.pop(spec.key, None)
            case events.Message(text):
                self._print(text)

    def time_left(self) -> float | None:
        """Estimated seconds left, if every search uses its full allowance at the pace of this call."""
        now = self._ended - self.before
        if not self.searches:
            return None
        if minutes := self.searches[0].asked.minutes:
            return sum(max(0.0, minutes * 60 - s.seconds) for s in self.searches if not s.over) / self.jobs
        if not now:
            return None
        left = sum((s.asked.allowance or 0) - len(s.finished) for s in self.searches if not s.over)
        return left * (time.monotonic() - self.began) / now

    @property
    def _ended(self) -> int:
        return sum(len(search.finished) for search in self.searches)

    @property
    def _most(self) -> int:
        """Total number of trials where a number is the limit; a finished search counts the trials it had."""
        return sum(len(s.finished) if s.over else s.asked.allowance or 0 for s in self.searches)

    def _told(self, search: Search, trial: Finished) -> str:
        outcome = trial.outcome
        if outcome.status != "ok":
            return f"trial {trial.number} {outcome.status}{': ' * bool(outcome.reason)}{outcome.reason}"
        return (
            f"trial {trial.number}{' (default)' * trial.default} {_at(search, outcome)}, {duration(outcome.seconds)}; "
            f"best so far: {_best(search)}"
        )

    def _print(self, text: str) -> None:
        from rich.text import Text

        with contextlib.suppress(OSError):  # the reader of stderr has gone, or its disk is full
            self.console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("search", "trials", "spent", "best so far"):
            table.add_column(heading, justify="right" if heading in ("trials", "spent") else "left")
        open_ones = [s for s in self.searches if not s.over]
        # The live table shows open searches; finished ones are in the lines above and in the report.
        for search in open_ones[: max(3, self.console.height - 8)]:
            share = search.asked.allowance or "-"
            table.add_row(
                search.name, f"{len(search.finished)}/{share}", duration(search.seconds), _best(search), style=""
            )
        left = self.time_left()
        head = f"{len(self.searches) - len(open_ones)} of {len(self.searches)} searches over"
        head += f", at most about {duration(left)} left" if left else ""
        lines = [
            Text(f"  {run_name(spec)}: {state}, {duration(time.monotonic() - since)}")
            for since, spec, state in list(self.current.values())
        ]
        return Group(Text(head), table, *lines)


def _best(search: Search) -> str:
    best = search.best()
    if best is None:
        return "none yet"
    gain = ""
    if (default := search.default) and default.outcome.status == "ok" and search.mode == "per_budget":
        gain = f" ({search.metric.change(best.outcome.value - default.outcome.value)} to the default)"
    return f"{_at(search, best.outcome)}{gain}"


def _at(search: Search, outcome: Outcome) -> str:
    return f"{search.metric.title} {search.metric.text(outcome.value)} at {outcome.bytes_ratio:.4f} of fp32"
