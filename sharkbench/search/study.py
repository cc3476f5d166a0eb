"""The common part of all search modes: an Optuna study of one method with an ask-and-tell interface.

The study holds all state. After reopening it, finished trials are known, and started trials continue with their numbers
and parameters, so that nothing is lost or repeated.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import TypeAdapter, ValidationError

from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.measure.spec import MeasureSpec
from sharkbench.results.metrics import Metric
from sharkbench.results.records import Epoch
from sharkbench.search.space import Configuration, Space
from sharkbench.search.trials import UNTIMED, Cell, Outcome, Running
from sharkbench.suite.entries import MethodEntry
from sharkbench.suite.run import RunSpec
from sharkbench.suite.search import Mode, SearchSpec

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

Direction = Literal["minimize", "maximize"]
DEFAULT, CONFIGURATION, OUTCOME = "default", "configuration", "outcome"
"""User attributes of a trial."""

_OUTCOME = TypeAdapter(Outcome)


@dataclass(frozen=True)
class Finished:
    """A trial that has ended. ``configuration`` is ``None`` if its settings were incompatible."""

    number: int
    configuration: Configuration | None
    outcome: Outcome
    default: bool


@dataclass(frozen=True)
class Proposal:
    """Fixed parameters of the next trial; the sampler suggests the others."""

    params: Mapping[str, Any]
    default: bool = False


class Search(ABC):
    """The search of one method in one cell, in one mode.

    Attributes:
        running: running trials, by number.
        finished: finished trials, in the order of their ends.
        over: whether no more trials will be requested.
    """

    mode: ClassVar[Mode]
    decides_by_state: ClassVar[tuple[str, ...]] = ()
    """Keys of :class:`SearchSpec` whose change starts another study."""

    def __init__(
        self, cell: Cell, entry: MethodEntry, storage: BaseStorage | str, *, budget: Budget | None = None
    ) -> None:
        import optuna

        assert cell.suite.search is not None
        self.cell, self.entry, self.budget = cell, entry, budget
        self.asked: SearchSpec = cell.suite.search
        recipe = cell.suite.recipe(cell.dataset, cell.backbone)
        self.space = Space(entry.spec, recipe, cell.backbone.spec, self.asked.tune)
        self.study = optuna.create_study(
            storage=storage,
            study_name=f"{self.name} {self._digest()}",
            directions=list(self.directions()),
            pruner=self._pruner(),
            load_if_exists=True,
        )
        self.running: dict[int, Running] = {}
        self.finished: list[Finished] = []
        self.over = False
        self._begun, self._enqueued = 0, False
        self._left: list[FrozenTrial] = []
        self._remember()

    # What it is ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the search: mode, cell, method, and the budget if it has one."""
        at = f" at {self.budget}" if self.budget else ""
        return f"{self.mode}: {self.cell.name} {self.entry.label}{at}"

    @property
    def metric(self) -> Metric:
        """The primary metric, which is optimized."""
        return self.cell.metric

    def score(self, trial: Finished) -> float:
        """The primary metric of a trial with status ok as a score (higher is better)."""
        return self.metric.score(trial.outcome.value)

    @property
    def seconds(self) -> float:
        """Seconds spent on the runs of finished trials."""
        return sum(trial.outcome.seconds for trial in self.finished)

    @property
    def used_up(self) -> bool:
        """Whether it has used the number of trials, or the time, that every method gets."""
        if self.asked.minutes is not None:
            return self.seconds >= self.asked.minutes * 60
        return self._begun >= (self.asked.allowance or 0)

    @abstractmethod
    def best(self) -> Finished | None:
        """The trial to choose if the search ended now."""

    def chosen(self) -> list[Finished]:
        """The trials to retrain."""
        best = self.best()
        return [best] if best else []

    @property
    def default(self) -> Finished | None:
        """The trial with the suite's own settings."""
        return next((trial for trial in self.finished if trial.default), None)

    # Ask and tell --------------------------------------------------------------------------------------------------

    def ask(self) -> Running | None:
        """The next trial; ``None`` if there is none, or none yet."""
        import optuna

        if self._left and self.ready():
            left = self._left.pop(0)
            # Before the trial is created, which draws its joint parameters.
            self.study.sampler = self._sampler(left.number)
            trial = optuna.Trial(self.study, left._trial_id)
        elif self.over or self._left or (not self._enqueued and not self._propose()):
            return None
        else:
            self.study.sampler = self._sampler(self._begun)
            try:
                trial = self.study.ask()
            finally:
                self._enqueued = False
            self._begun += 1
        assert isinstance(trial, optuna.Trial)
        running = self._started(trial)
        self.running[trial.number] = running
        return running

    def tell(self, running: Running) -> Finished:
        """Record the outcome of a trial, also for the sampler."""
        import optuna

        outcome, trial = running.outcome(self.budget), running.trial
        default = bool(trial.user_attrs.get(DEFAULT, False))
        finished = Finished(running.number, running.configuration, outcome, default)
        trial.set_user_attr(OUTCOME, _OUTCOME.dump_python(outcome, mode="json"))
        limits = self.constraints(outcome) if outcome.status == "ok" else {outcome.status: 1.0}
        with warnings.catch_warnings(action="ignore"):  # about a value that was set before the process was killed
            for name, value in limits.items() if outcome.status != "pruned" else ():
                trial.set_constraint(name, value)
        if outcome.status == "ok":
            self.study.tell(trial, self.values(outcome))
        else:
            # Samplers ignore failed trials, but avoid trials that violate a constraint.
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        del self.running[running.number]
        self.finished.append(finished)
        return finished

    def epoch(self, running: Running, spec: RunSpec, epoch: Epoch) -> bool:
        """Record an epoch of a run; returns whether the trial is hopeless."""
        return False

    def look_back(self, running: Running, spec: RunSpec, history: Sequence[Epoch]) -> bool:
        """Record all epochs of a finished run, as if they had been reported one by one; returns whether the trial was
        hopeless. Runs that were stored before or resumed after a kill have not reported all epochs."""
        return False

    @abstractmethod
    def propose(self) -> Proposal | None:
        """The next trial given all finished trials; ``None`` ends the search."""

    @abstractmethod
    def configure(self, trial: optuna.Trial) -> Configuration:
        """The configuration of the trial.

        Raises:
            pydantic.ValidationError: its settings are incompatible.
        """

    @abstractmethod
    def values(self, outcome: Outcome) -> list[float]:
        """Objective values of a trial with status ok, one per direction."""

    def constraints(self, outcome: Outcome) -> dict[str, float]:
        """Constraint values of a trial with status ok, which must not be above zero."""
        return {}

    @property
    def measure(self) -> MeasureSpec:
        """How the lookups of its runs are timed."""
        return UNTIMED

    def ready(self) -> bool:
        """Whether the next trial can be proposed."""
        return True

    # Inside --------------------------------------------------------------------------------------------------------

    def _propose(self) -> bool:
        if self.used_up:
            self.over = not self.running
            return False
        if not self.ready():
            return False
        proposal = self.propose()
        if proposal is None:
            self.over = True
            return False
        if proposal.params or proposal.default:
            self.study.enqueue_trial(dict(proposal.params), {DEFAULT: proposal.default})
        return True

    def _started(self, trial: optuna.Trial) -> Running:
        try:
            configuration = self.configure(trial)
            specs = self.cell.specs(configuration, self.asked.seeds, label=self.entry.label, measure=self.measure)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the settings"
            return Running(trial, None, [], reason=f"{where}: {first['msg']}")
        trial.set_user_attr(CONFIGURATION, _as_json(configuration))
        return Running(trial, configuration, specs)

    def _remember(self) -> None:
        from optuna.trial import TrialState

        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state == TrialState.WAITING:
                self._enqueued = True
                continue
            self._begun += 1
            if frozen.state == TrialState.RUNNING:
                self._left.append(frozen)
            elif OUTCOME in frozen.user_attrs:
                attrs = frozen.user_attrs
                configuration = _from_json(attrs[CONFIGURATION]) if CONFIGURATION in attrs else None
                outcome = _OUTCOME.validate_python(attrs[OUTCOME])
                self.finished.append(Finished(frozen.number, configuration, outcome, attrs.get(DEFAULT, False)))

    @abstractmethod
    def directions(self) -> tuple[Direction, ...]:
        """Direction of each value of :meth:`values`."""

    @property
    def towards_better(self) -> Direction:
        """Direction of the primary metric."""
        return "maximize" if self.metric.higher_is_better else "minimize"

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of trial ``number``, unaffected by kills, see :mod:`sharkbench.search.sampler`."""
        from sharkbench.search.sampler import sampler

        startup = max(3, min(10, (self.asked.allowance or 40) // 4))
        return sampler(f"{self.name} {self._digest(code=False)}:{number}", startup)

    def _pruner(self) -> optuna.pruners.BasePruner:
        from optuna.pruners import NopPruner

        return NopPruner()

    def _digest(self, *, code: bool = True) -> str:
        """Digest of all that determines the trials, except their number, so that more can be requested.

        Args:
            code: whether to include the code, on which suggested parameters do not depend.
        """
        configuration = Configuration(self.entry.spec, self.budget)
        specs = self.cell.specs(configuration, self.asked.seeds, label="")
        keys = [spec.key if code else spec.identity for spec in specs]
        said = self.asked.model_dump(mode="json", include=set(self.decides_by_state))
        return hashlib.sha256(json.dumps([keys, said], sort_keys=True).encode()).hexdigest()[:10]


def _as_json(configuration: Configuration) -> dict[str, Any]:
    return {
        "method": configuration.method.model_dump(mode="json"),
        "budget": configuration.budget.model_dump(mode="json") if configuration.budget else None,
        "train": dict(configuration.train),
        "backbone": dict(configuration.backbone),
    }


def _from_json(said: Mapping[str, Any]) -> Configuration:
    budget = Budget.model_validate(said["budget"]) if said["budget"] is not None else None
    return Configuration(registry.parse(said["method"]), budget, said["train"], said["backbone"])
