"""A metric says which way is better and how it is shown; a result has no figures but of its metrics."""

from __future__ import annotations

import pytest

from sharkbench.results.metrics import Metric, check, named
from sharkbench.results.records import Result
from tests.records import a_result

ERROR = Metric(
    name="error", title="error", higher_is_better=False, primary=True, monitored=True, low=0, digits=2, factor=100
)
OTHER = Metric(name="other", title="the other", higher_is_better=True)


def test_a_score_is_higher_where_it_is_better() -> None:
    assert ERROR.score(0.1) > ERROR.score(0.2)
    assert OTHER.score(0.1) < OTHER.score(0.2)


def test_tables_show_its_unit_and_digits() -> None:
    assert (ERROR.text(0.12345), ERROR.change(-0.0012)) == ("12.35", "-0.12")
    assert ERROR.step == pytest.approx(1e-4)


def test_the_mean_is_over_labels() -> None:
    assert ERROR.mean({"a": {"error": 0.1, "other": 9.0}, "b": {"error": 0.3}}) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "metrics",
    [
        (OTHER,),
        (ERROR, ERROR.model_copy(update={"name": "again"})),
        (ERROR, ERROR.model_copy(update={"primary": False})),
        (ERROR.model_copy(update={"monitored": False}),),
    ],
)
def test_one_metric_is_primary_and_names_differ(metrics: tuple[Metric, ...]) -> None:
    with pytest.raises(ValueError, match=r"primary|the same name"):
        check(metrics)


def test_an_unknown_name_is_said_with_a_guess() -> None:
    with pytest.raises(ValueError, match="unknown metric 'eror'; did you mean 'error'"):
        named((ERROR, OTHER), "eror")


def test_a_result_has_no_figure_but_of_its_metrics() -> None:
    facts = {**a_result().model_dump(), "task": "t", "metrics": (ERROR,)}
    assert Result(**{**facts, "quality": {"y": {"error": 3.0}}}).metric == ERROR
    with pytest.raises(ValueError, match="is none of its metrics"):
        Result(**{**facts, "quality": {"y": {"other": 3.0}}})
    with pytest.raises(ValueError, match="is below 0"):
        Result(**{**facts, "quality": {"y": {"error": -3.0}}})
