"""The schema of a suite's ``search``. Imports pydantic only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from sharkbench.errors import did_you_mean
from sharkbench.results.metrics import Metric

Mode = Literal["lossless", "per_budget", "pareto"]
Tunable = Literal["method", "learning_rate", "weight_decay", "dropout"]
COSTS = ("bytes", "lookup")
"""Objectives besides the primary metric."""

FIRST_SEED = 1_000_000
"""First seed of a search that states only the number of seeds; far from the seeds of reports, which start at 0."""


def _counted(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return range(FIRST_SEED, FIRST_SEED + value)
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _all_or_listed(value: Any) -> Any:
    return [value] if isinstance(value, str) and value != "all" else value


_Seed = Annotated[int, Field(ge=0, lt=2**31)]
_Fraction = Annotated[float, Field(gt=0, le=1)]


class SearchSpec(BaseModel):
    """A search over budgets and settings. Its trials use training and validation data only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    modes: Annotated[
        tuple[Mode, ...], BeforeValidator(_listed, json_schema_input_type=Mode | list[Mode]), Field(min_length=1)
    ] = ("lossless",)
    """``lossless`` finds the smallest table that loses at most ``tolerance`` on validation against the fp32 table.
    ``per_budget`` finds the best settings at each of the suite's budgets. ``pareto`` finds the Pareto front of the
    primary metric and bytes."""
    methods: Annotated[
        Literal["all"] | tuple[str, ...],
        BeforeValidator(_all_or_listed, json_schema_input_type=str | list[str]),
        Field(min_length=1),
    ] = "all"
    """The methods of the suite to search: ``all``, or a list of labels."""
    trials: int | None = Field(None, ge=1, le=100_000)
    """Largest number of trials of a study (one method in one mode, and at one budget in ``per_budget``); 20 by default,
    unless ``minutes`` is given instead."""
    minutes: float | None = Field(None, gt=0)
    """Instead of ``trials``: time limit for the runs of each study, in minutes."""
    seeds: Annotated[
        tuple[_Seed, ...], BeforeValidator(_counted, json_schema_input_type=list[_Seed] | Annotated[int, Field(ge=1)])
    ] = Field((FIRST_SEED,), min_length=1)
    """Seeds of each trial, or their number. None may be among the suite's ``seeds``, which the report uses."""
    tolerance: Annotated[float, Field(ge=0)] | Literal["not_worse"] = 0.001
    """``lossless``: the largest validation loss that is accepted, in units of the primary metric; or ``not_worse``: no
    loss that is significant at 95% over the search's seeds."""
    between: Annotated[tuple[_Fraction, _Fraction], Field()] = (0.001, 1.0)
    """``lossless``, ``pareto``: the smallest and the largest budget to try, as fractions of the fp32 table."""
    precision: float = Field(0.05, gt=0, le=1)
    """``lossless`` stops once it knows the smallest sufficient budget to this relative precision."""
    tune: Annotated[tuple[Tunable, ...], BeforeValidator(_listed, json_schema_input_type=Tunable | list[Tunable])] = (
        Field(("method", "learning_rate", "weight_decay", "dropout"), min_length=1)
    )
    """``per_budget``, ``pareto``: the hyperparameters to tune; ``method`` means the method's own settings. A setting
    that an entry of ``methods`` states is not tuned."""
    pruning: bool = True
    """``per_budget``: stop a trial early if its best validation so far is worse than the median of the other trials."""
    objectives: Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=list[str])] = ()
    """``pareto``: the objectives: the primary metric and one or both of ``bytes`` and ``lookup`` (lookup time relative
    to ``F.embedding``); by default the metric and bytes."""
    retrain: bool = True
    """Train the chosen settings again with the suite's seeds and evaluate them on the test split (leaderboard)."""
    storage: str = ""
    """Optuna storage URL; by default a journal file in the output directory."""

    @field_validator("modes", "tune", "objectives", "seeds", "methods", mode="after")
    @classmethod
    def _no_repeats(cls, value: Any) -> Any:
        if not isinstance(value, str) and (doubles := [item for item in value if value.count(item) > 1]):
            raise ValueError(f"{doubles[0]} stands in the list more than once")
        return value

    @field_validator("between", mode="after")
    @classmethod
    def _from_small_to_large(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"the smaller budget comes first; got {value[0]:g}, {value[1]:g}")
        return value

    @field_validator("storage", mode="after")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        if value and "://" not in value:
            raise ValueError(
                "an Optuna storage is an address like sqlite:///search.db; leave it out for a journal file"
            )
        return value

    @model_validator(mode="after")
    def _one_measure_of_fairness(self) -> Self:
        if self.trials is not None and self.minutes is not None:
            raise ValueError("methods get either the same number of 'trials' or the same 'minutes'; remove one")
        return self

    @model_validator(mode="after")
    def _seeds_show_something(self) -> Self:
        if self.tolerance == "not_worse" and "lossless" in self.modes and len(self.seeds) < 3:
            raise ValueError("tolerance: not_worse needs 3 seeds or more; add a line like 'seeds: 5' to 'search'")
        return self

    def of(self, metric: Metric) -> Self:
        """This search with its objectives given by metric name.

        Args:
            metric: the primary one of the suite's task.

        Raises:
            ValidationError: an objective or the tolerance is invalid for this metric.
        """
        known = (metric.name, *COSTS)
        objectives = self.objectives or known[:2]
        for i, objective in enumerate(objectives):
            if objective not in known:
                expected = " or ".join(f"'{one}'" for one in known)
                details = InitErrorDetails(
                    type="literal_error", loc=("objectives", i), input=objective, ctx={"expected": expected}
                )
                raise ValidationError.from_exception_data("SearchSpec", [details])
        if metric.name not in objectives:
            missing = f"'{metric.name}' must be among them: without it the smallest table wins, whatever it predicts"
            raise _mistake("objectives", missing, objectives)
        if len(objectives) < 2:
            raise _mistake("objectives", "needs at least 2 entries, has 1", objectives)
        if metric.width is not None and self.tolerance != "not_worse" and self.tolerance >= metric.width:
            said = f"must be less than {metric.width:g}, got {self.tolerance:g}: {metric.title} can lose no more"
            raise _mistake("tolerance", said, self.tolerance)
        return self.model_copy(update={"objectives": objectives})

    @property
    def allowance(self) -> int | None:
        """Trials per study; ``None`` if time is the limit."""
        return None if self.minutes is not None else self.trials or 20

    def check_against(self, methods: Iterable[str], without_budgets: Collection[str], seeds: Iterable[int]) -> None:
        """Check the keys that depend on the rest of the suite.

        Args:
            methods: labels of the suite's methods.
            without_budgets: labels of the methods that need budgets and have none.
            seeds: the suite's seeds, which the report uses.

        Raises:
            ValueError: a method is not in the suite, there is no budget to search at, or a seed is one of the report's.
        """
        known = list(methods)
        for name in () if self.methods == "all" else self.methods:
            if name not in known:
                raise ValueError(
                    f"search.methods: no method of the suite is called '{name}'{did_you_mean(name, known)}"
                )
        if "per_budget" in self.modes and without_budgets:
            raise ValueError("search.modes: 'per_budget' needs 'budgets'; add a line like 'budgets: [0.5, 0.1]'")
        if shared := sorted(set(self.seeds) & set(seeds)):
            raise ValueError(
                f"search.seeds: {shared[0]} is also one of the suite's seeds; results with it would flatter what "
                "the search has chosen by it"
            )


def _mistake(key: str, said: str, value: Any) -> ValidationError:
    error = PydanticCustomError("value_error", "{error}", {"error": said})
    return ValidationError.from_exception_data("SearchSpec", [InitErrorDetails(type=error, loc=(key,), input=value)])
