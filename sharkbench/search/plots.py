"""Optuna's own plots of each study, on one page that needs no network. They require plotly."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from sharkbench.search.study import Search

if TYPE_CHECKING:
    import optuna

Figure = Any

LEAST = 2
"""Least number of trials for a plot."""

MISSING = "Optuna's plots are left out: they need plotly; pip install 'sharkbench[search]'"
"""Message if they cannot be drawn."""


def drawable() -> bool:
    """Whether plotly, with which Optuna draws, is installed."""
    return importlib.util.find_spec("plotly") is not None


def page(searches: Sequence[Search], title: str) -> str:
    """HTML of all plots; plotly's script is included once."""
    body: list[str] = []
    drawn = 0
    for search in searches:
        figures = list(_figures(search))
        if figures:
            body.append(f"<h2>{escape(search.name)}</h2>")
        for figure in figures:
            body.append(figure.to_html(full_html=False, include_plotlyjs=not drawn))
            drawn += 1
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f"<body><h1>{escape(title)}</h1>{''.join(body)}</body></html>\n"
    )


def _figures(search: Search) -> Iterator[Figure]:
    from optuna import visualization as draw
    from optuna.trial import TrialState

    study = search.study
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < LEAST:
        return
    tunables = len({name for trial in done for name in trial.params})
    if len(search.study.directions) > 1:
        names = list(search.asked.objectives)
        yield from _drawn(draw.plot_pareto_front, study, target_names=names)
        for number, name in enumerate(names):
            yield from _drawn(draw.plot_optimization_history, study, target=_value(number), target_name=name)
            if tunables > 1:
                # Optuna evaluates importance for small targets.
                small = _value(number, -1 if search.directions()[number] == "maximize" else 1)
                yield from _drawn(draw.plot_param_importances, study, target=small, target_name=name)
        return
    target = "bytes" if search.mode == "lossless" else f"validation {search.metric.title}"
    yield from _drawn(draw.plot_optimization_history, study, target_name=target)
    yield from _drawn(draw.plot_slice, study, target_name=target)
    if tunables > 1:
        yield from _drawn(draw.plot_param_importances, study, target_name=target)
    if any(trial.intermediate_values for trial in done):
        yield from _drawn(draw.plot_intermediate_values, study)


def _value(number: int, sign: int = 1) -> Callable[[optuna.trial.FrozenTrial], float]:
    return lambda trial: sign * trial.values[number]


def _drawn(plot: Callable[..., Figure], study: optuna.Study, **settings: Any) -> Iterator[Figure]:
    """Draw a plot without Optuna's warnings; empty if Optuna raises because all trials are equal."""
    with warnings.catch_warnings(action="ignore"):
        try:
            yield plot(study, **settings)
        except (ValueError, RuntimeError):
            return
