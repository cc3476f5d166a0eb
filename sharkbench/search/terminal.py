"""Prints the results of a search on the terminal."""

from __future__ import annotations

from collections.abc import Callable

from sharkbench.leaderboard.figures import duration, percent, size, times
from sharkbench.results.metrics import Metric
from sharkbench.search.conduct import Searched
from sharkbench.search.tables import Found, Spent, found_in, why_nothing


def print_found(searched: Searched, table: Callable[..., None]) -> None:
    """Print one row per chosen configuration, then the studies without a choice, and the cost of each method.

    Args:
        table: called with headings, rows, and ``right``, the headings of the columns that are aligned to the right.
    """
    found, metric = found_in(searched), searched.suite.task.primary
    headings = _headings(metric)
    for mode in dict.fromkeys(search.mode for search in searched.searches):
        rows = [_row(one) for one in found if one.search.mode == mode]
        print(f"\n{mode}: {_TITLES[mode].format(metric=metric.title)}")
        if rows:
            table(headings, rows, right=headings[3:])
        for search in searched.searches:
            if search.mode == mode and not search.best():
                print(f"{search.name}: {why_nothing(search)}")
    print(f"\n{share(searched)}")
    spent = [_spent(Spent(search)) for search in searched.searches]
    table(("search", *_SPENT), spent, right=_SPENT)


def share(searched: Searched) -> str:
    """The allowance of every method, in a sentence."""
    asked = searched.searches[0].asked
    each = f"{asked.minutes:g} minutes of runs" if asked.minutes else f"{asked.allowance} trials"
    seeds = "one seed" if len(asked.seeds) == 1 else f"{len(asked.seeds)} seeds"
    return (
        f"Every study had the same share, {each}, with {seeds} each; a lossless one ends when its "
        "budget is known. Runs that were stored before count with the time that they took."
    )


_TITLES = {
    "lossless": "the smallest table that loses nothing",
    "per_budget": "the best settings at a budget",
    "pareto": "{metric} against bytes, the front",
}
_SPENT = ("trials", "ok", "pruned", "infeasible", "failed", "time")


def _headings(metric: Metric) -> tuple[str, ...]:
    quality = (f"valid {metric.title}", "gain", f"test {metric.title}", "to full")
    return ("method", "where", "budget", "bytes", "of fp32", *quality, "lookups")


def _row(found: Found) -> tuple[str, ...]:
    outcome, configuration, metric = found.trial.outcome, found.trial.configuration, found.search.metric
    return (
        found.choice.label,
        found.search.cell.name,
        str(configuration.budget or "-") if configuration else "-",
        size(outcome.bytes),
        percent(outcome.bytes_ratio),
        metric.text(outcome.value),
        "" if found.valid_delta is None else metric.change(found.valid_delta),
        "" if found.test_value is None else metric.text(found.test_value),
        "" if found.test_delta is None else metric.change(found.test_delta),
        times(found.lookups_torch),
    )


def _spent(spent: Spent) -> tuple[object, ...]:
    counts = spent.counts
    return (spent.search.name, sum(counts.values()), *counts.values(), duration(spent.search.seconds))
