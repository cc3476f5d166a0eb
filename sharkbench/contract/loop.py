"""Loops outside of training (closed forms, coordinate descent, passes over the data): counted, validated, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from sharkbench.results.metrics import Quality, monitored
from sharkbench.results.records import Epoch, TrainingCost
from sharkbench.training.kept import KeptState
from sharkbench.training.memory import peak_resident_bytes
from sharkbench.training.plain_state import (
    as_bytes,
    copied,
    is_plain,
    leaves,
    packed,
    random_state,
    set_random_state,
    unpacked,
)

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model

_OWN = "sharkbench"


class Loop:
    """The body of ``with bench.loop(...) as loop`` is a stage of the run, like a training.

    Its cost is that of its body without trainings, which count themselves. Its validations are epochs of the run's
    history. A long loop that iterates over rounds resumes after a kill from the state of the last round::

        with bench.loop("descent", {"codes": codes}, rounds=20, keep_best=True) as loop:
            for number in loop:
                loop.state["codes"] = descend(loop.state["codes"])
                loop.count(len(train))
                loop.validate(model_of(loop.state["codes"]))
        codes = loop.state["codes"]

    ``break`` ends it early. A round may depend only on the state and the method's settings; random numbers come from
    generators in the state.

    Attributes:
        state: changed by the method, in place or by new values; at the end, the state of the best validation if
            ``keep_best``.
        round: number of the current or last round, from 1; 0 before the first.
        history: one epoch per validation.
        best_epoch: the ``epoch`` of ``history`` that is the best so far, 0 before any.
        misses: consecutive validations without a gain.
    """

    def __init__(
        self,
        bench: Workbench,
        stage: str,
        state: dict[str, Any],
        *,
        rounds: int | None,
        patience: int | None,
        keep_best: bool,
    ) -> None:
        self.bench, self.stage, self.state = bench, bench.stage_name(stage), dict(state)
        self.rounds, self.patience, self.keep_best = rounds, patience, keep_best
        self.round = self.samples = self.best_epoch = self.misses = 0
        self.history: list[Epoch] = []
        self.best_score = -float("inf")
        self._best: dict[str, Any] | None = None
        self._ended = self._iterated = False

    def __enter__(self) -> Self:
        if self.bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.bench.device)
        self._earlier_stages = len(self.bench.ledger.costs), len(self.bench.ledger.history)
        self._kept = KeptState(Path(), possible=False)
        self._told = 0.0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            return
        if self._iterated and not self._ended:
            self._ended = True
            if self._kept.is_long():
                self._keep()
        if self.keep_best and self._best is not None:
            self.state = self._best
        self.bench.ledger.add(self.history, self._cost())

    def __iter__(self) -> Iterator[int]:
        """Numbers of the remaining rounds, from 1."""
        self._iterated = True
        self._resume()
        while not (
            self._ended
            or (self.rounds is not None and self.round >= self.rounds)
            or (self.patience is not None and self.misses >= self.patience)
        ):
            self.round += 1
            yield self.round
            if self._kept.is_due():
                self._keep()

    def count(self, samples: int) -> None:
        """Add samples that were read to the cost of the loop."""
        self.samples += samples

    def validate(self, model: Model, *, loss: float = float("nan")) -> Quality:
        """Quality of ``model`` on the validation split, label -> metric -> value; an epoch of the history.

        Args:
            loss: value of what the loop minimises, to be reported.
        """
        quality = self.bench.evaluate(model)
        seconds = self._seconds()
        epoch = Epoch(
            stage=self.stage,
            epoch=len(self.history) + 1,
            train_loss=loss,
            valid={
                label: {metric.name: values[metric.name] for metric in monitored(self.bench.task.metrics)}
                for label, values in quality.items()
            },
            learning_rate=0.0,
            seconds=max(seconds - self._told, 0.0),
        )
        self._told = seconds
        self.history.append(epoch)
        monitor = self.bench.task.monitor(self.bench.recipe.monitor)
        score = monitor.score(monitor.mean(epoch.valid))
        if score > self.best_score + self.bench.recipe.min_delta:
            self.best_score, self.best_epoch, self.misses = score, epoch.epoch, 0
            self._best = copied(self._plain_state()) if self.keep_best else None
        else:
            self.misses += 1
        if self.bench.on_epoch is not None:
            self.bench.on_epoch(epoch)
        return quality

    # Inside --------------------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        """Seconds within the loop, those before a kill included, those of trainings excluded."""
        trained = sum(cost.seconds for cost in self.bench.ledger.costs[self._earlier_stages[0] :])
        return max(self._kept.seconds - trained, 0.0)

    def _cost(self) -> TrainingCost:
        seconds, on_gpu = self._seconds(), self.bench.device.type == "cuda"
        return TrainingCost(
            seconds=seconds,
            samples=self.samples,
            samples_per_second=self.samples / max(seconds, 1e-9),
            peak_memory_bytes=torch.cuda.max_memory_allocated(self.bench.device) if on_gpu else peak_resident_bytes(),
            peak_memory_kind="cuda allocated" if on_gpu else "resident",
            epochs=self.round,
        )

    def _plain_state(self) -> dict[str, Any]:
        for name, value in self.state.items():
            if not is_plain(value):
                raise ValueError(
                    f"loop '{self.stage}': '{name}' is a {type(value).__name__}; a state is made of tensors, numbers, "
                    "text, generators, and lists and mappings of such, so that it can be kept"
                )
        return self.state

    def _digest(self) -> str:
        """Digest of all that the loop starts from; the stage distinguishes loops that start alike."""
        bench, digest = self.bench, hashlib.blake2b(digest_size=16)
        start = [
            ["loop", self.stage, self._earlier_stages[0], self.rounds, self.patience, self.keep_best],
            [bench.seed, bench.recipe.model_dump(), bench.task.model_dump(), bench.dataset.fingerprint],
            [torch.__version__, {**random_state(), "torch": None, "cuda": None}],
        ]
        digest.update(json.dumps(start, sort_keys=True).encode())
        for leaf in leaves(self._plain_state()):
            digest.update(as_bytes(leaf))
        return digest.hexdigest()

    def _resume(self) -> None:
        folder = self.bench.checkpoints
        self._plain_state()
        if folder is None or self.bench.recipe.processes > 1:  # no single file holds the state of several processes
            return
        began = self._kept
        self._kept = KeptState(folder / self._digest())
        self._kept.began_before(began.seconds)
        if (content := self._kept.read()) is None:
            return
        own = content[_OWN]
        self.state, self._best = unpacked(own["state"]), unpacked(own["best"])
        self.history = [Epoch.model_validate(epoch) for epoch in own["history"]]
        self.round, self.samples, self._ended = own["round"], own["samples"], own["ended"]
        self.best_score, self.best_epoch, self.misses = own["best_score"], own["best_epoch"], own["misses"]
        self._told = own["told"]
        self._kept.resumed(own["seconds"])
        trained = [TrainingCost.model_validate(cost) for cost in own["trained"]]
        self.bench.ledger.costs.extend(trained)
        self.bench.ledger.history.extend(Epoch.model_validate(epoch) for epoch in own["trained_history"])
        set_random_state(own["random"])

    def _keep(self) -> None:
        costs, history = self._earlier_stages
        ledger = self.bench.ledger
        own = {
            "state": packed(self._plain_state()),
            "best": packed(self._best),
            "history": [epoch.model_dump() for epoch in self.history],
            "round": self.round,
            "samples": self.samples,
            "ended": self._ended,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "misses": self.misses,
            "told": self._told,
            "seconds": self._kept.seconds,
            "trained": [cost.model_dump() for cost in ledger.costs[costs:]],
            "trained_history": [epoch.model_dump() for epoch in ledger.history[history:]],
            "random": random_state(),
        }
        self._kept.write({_OWN: own})
