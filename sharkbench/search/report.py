"""The report of a search: CSV tables, YAML to paste, and one HTML page, all computed from the studies."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from sharkbench.files.durable import write_text
from sharkbench.leaderboard import figures
from sharkbench.leaderboard.csvfile import write_csv
from sharkbench.search import charts, plots
from sharkbench.search.conduct import Searched
from sharkbench.search.pareto import Pareto
from sharkbench.search.snippet import changes, snippet
from sharkbench.search.study import Search
from sharkbench.search.tables import Found, Spent, chosen_columns, found_in, trial_columns, why_nothing
from sharkbench.search.terminal import share

REPORT, PLOTS, CHOICES, ALL_TRIALS, YAML = "report.html", "plots.html", "chosen.csv", "trials.csv", "chosen"


def write_report(searched: Searched) -> list[Path]:
    """Write the report into the search's folder; returns the files, the page first."""
    folder, found = searched.folder, found_in(searched)
    metric = searched.suite.task.primary
    write_csv(folder / CHOICES, chosen_columns(metric), found)
    rows = [(search, trial) for search in searched.searches for trial in search.finished]
    write_csv(folder / ALL_TRIALS, trial_columns(metric), rows)
    snippets = _write_snippets(folder / YAML, found)
    paths = [folder / REPORT, folder / CHOICES, folder / ALL_TRIALS, *snippets]
    if plots.drawable():
        write_text(folder / PLOTS, plots.page(searched.searches, f"{searched.suite.name}: studies"))
        paths.insert(1, folder / PLOTS)
    write_text(folder / REPORT, _page(searched, found))
    return paths


def importances(search: Search) -> dict[str, float]:
    """Importance of each tuned parameter for the primary metric (PED-ANOVA), largest first; empty below four trials."""
    from optuna.importance import get_param_importances

    ok = [trial for trial in search.study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if search.mode == "lossless" or len(ok) < 4 or len({name for trial in ok for name in trial.params}) < 2:
        return {}
    number = search.asked.objectives.index(search.metric.name) if search.mode == "pareto" else 0
    sign = -1 if search.metric.higher_is_better else 1
    with warnings.catch_warnings(action="ignore"):  # about few trials, whose number the report shows
        try:
            # PED-ANOVA evaluates importance for small targets.
            return get_param_importances(search.study, target=lambda trial: sign * trial.values[number])
        except (ValueError, RuntimeError):  # all trials are equal
            return {}


def _write_snippets(folder: Path, found: list[Found]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for one in found:
        assert one.trial.configuration is not None
        budget = str(one.trial.configuration.budget or "")
        name = re.sub(r"[^\w.-]+", "_", f"{one.search.cell.name} {one.choice.label} {budget}".strip(), flags=re.ASCII)
        path = folder / f"{name.strip('_')}.yaml"
        write_text(path, snippet(one.search, one.trial.configuration, one.choice.label))
        paths.append(path)
    for old in set(folder.glob("*.yaml")) - set(paths):
        old.unlink()
    return paths


def _page(searched: Searched, found: list[Found]) -> str:
    import jinja2

    text = (resources.files(__package__) / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text).render(
        suite=searched.suite,
        metric=searched.suite.task.primary,
        asked=searched.searches[0].asked,
        share=share(searched),
        chosen=[(column.name, column.meaning) for column in chosen_columns(searched.suite.task.primary)],
        found=found,
        studies=[_study(search, found) for search in searched.searches],
        fronts=list(_fronts(searched)),
        no_plots="" if plots.drawable() else plots.MISSING,
        figures=figures,
        interrupted=searched.interrupted,
    )


def _study(search: Search, found: list[Found]) -> dict[str, Any]:
    from markupsafe import Markup

    own = [one for one in found if one.search is search]
    return {
        "name": search.name,
        "mode": search.mode,
        "counts": Spent(search).counts,
        "seconds": search.seconds,
        "why": "" if own else why_nothing(search),
        "importances": importances(search),
        "history": Markup(charts.history(search)),
        "snippets": [
            snippet(search, one.trial.configuration, one.choice.label) for one in own if one.trial.configuration
        ],
        "trials": [
            (
                trial,
                changes(search.entry.spec, trial.configuration) if trial.configuration else {},
                str(trial.configuration.budget or "") if trial.configuration else "",
            )
            for trial in sorted(search.finished, key=lambda trial: trial.number)
        ],
    }


def _fronts(searched: Searched) -> Iterator[dict[str, Any]]:
    from markupsafe import Markup

    members: dict[str, list[Pareto]] = {}
    for search in searched.searches:
        if isinstance(search, Pareto):
            members.setdefault(search.cell.name, []).append(search)
    for name, searches in members.items():
        lookups = [t.outcome.lookup for s in searches for t in s.finished if t.outcome.lookup is not None]
        slowest = max(lookups, default=1.0)
        yield {
            "name": name,
            "picture": Markup(charts.fronts(searches)),
            "slowest": slowest if lookups else None,
            "volumes": [(s.entry.label, s.hypervolume(slowest), s.front()) for s in searches],
            "worst": searches[0].worst if searches[0].metric.chance is not None else None,
        }
