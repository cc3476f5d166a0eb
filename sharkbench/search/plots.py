"""Optuna's own plots of each study, on one page that needs no network. They are drawn where plotly is installed."""

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
"""Trials that a plot needs to show anything."""

MISSING = "Optuna's plots are left out: they need plotly; pip install 'sharkbench[search]'"
"""Said where they cannot be drawn."""


def drawable() -> bool:
    """Whether what Optuna draws with is installed."""
    return importlib.util.find_spec("plotly") is not None


def page(searches: Sequence[Search], title: str) -> str:
    """HTML of all plots; plotly's program is in it once."""
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
                # It looks at what makes the target small.
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
    """Optuna warns of what a plot leaves out, and raises where the trials are all alike."""
    with warnings.catch_warnings(action="ignore"):
        try:
            yield plot(study, **settings)
        except (ValueError, RuntimeError):
            return
