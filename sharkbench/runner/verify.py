"""Verifies that newer code gives the same results: repeats a few stored runs and, if they agree, carries over the rest.

For each method the cheapest runs are drawn that together cover every change of the code (:func:`draw`). On the same
processor and torch every bit must agree. On others the last bits of sums differ, and training amplifies this: there the
drawn runs must agree within the spread of such pairs that their metrics state (docs/statistics.md). Runs that agree are
stored under the key of the present code, with a record of the verification.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from sharkbench.contract import registry
from sharkbench.errors import InputError
from sharkbench.files.durable import write_text
from sharkbench.keys.closure import changes
from sharkbench.machine.environment import git_state
from sharkbench.results.records import Environment, Result, Verification, Verified
from sharkbench.results.store import CODE, RESULT, SPEC, VERIFIED, Store
from sharkbench.runner.agreement import difference, largest_difference
from sharkbench.runner.events import Event, Message
from sharkbench.runner.local import EXECUTE
from sharkbench.runner.outcome import facts_of
from sharkbench.runner.session import prepare_data, session
from sharkbench.suite.freshness import Freshness
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec

FOLDER = "verify"
"""Folder in a suite's output directory for the repeated runs, until all of them agree with the stored ones."""


@dataclass(frozen=True)
class Earlier:
    """A stored run of earlier code, the same run for the present code, and the modules changed in between."""

    result: Result
    spec: RunSpec
    changed: frozenset[str]
    environment: Environment

    @property
    def method(self) -> frozenset[str]:
        """Modules of its method: verification is per method."""
        return registry.modules_of(self.spec.method)

    @property
    def name(self) -> str:
        at = f" at {self.spec.budget}" if self.spec.budget else ""
        spec = self.spec
        return f"{spec.dataset.name}, {spec.backbone.name}, {spec.method_label}{at}, seed {spec.seed}"


@dataclass
class Outcome:
    """Result of a verification.

    Attributes:
        drawn: names of the repeated runs.
        carried: number of runs carried over to the present code, by method.
        differing: a line for each drawn run with a different result; the runs of its method stay stale.
        left: number of runs that were not carried over, by reason.
    """

    drawn: list[str] = field(default_factory=list)
    carried: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def verify(
    suite: Suite,
    plan: Sequence[RunSpec],
    out: Path,
    *,
    jobs: int = 1,
    cache_dir: Path | None = None,
    tell: Callable[[Event], None] = lambda event: None,
    execute: str = EXECUTE,
) -> Outcome:
    """Verify the runs of ``plan`` that are stored under ``out`` by earlier code, and carry over those that agree.

    Repeated runs are stored until they agree, so a call that was killed can be continued.

    Args:
        jobs: number of concurrent runs.
        cache_dir: cache of prepared data.
        tell: called with the events of the repeated runs.
        execute: the function that executes a run, as ``module:function``.

    Raises:
        InputError: there is no store, or data is missing.
    """
    store, outcome = opened(out), Outcome()
    found = list(earlier(store, plan, outcome.left))
    drawn = draw(found, store)
    again = Store(out / FOLDER)
    missing = [one.spec for one in drawn if _now(one, store, again) is None]
    if missing:
        bad = prepare_data(missing, cache_dir)
        for reason in bad.values():
            tell(Message(reason))
        waiting = [spec for spec in missing if spec.fingerprint not in bad]
        with session(
            again.out, tell, executor=suite.executor, jobs=jobs, cache_dir=cache_dir, threads=_threads(missing),
            execute=execute,
        ) as work:  # fmt: skip
            work.run(lambda slots: [waiting.pop(0) for _ in range(min(slots, len(waiting)))])
    _judge_and_carry(found, drawn, store, again, outcome)
    if not outcome.differing:
        shutil.rmtree(again.out, ignore_errors=True)
    return outcome


def earlier(store: Store, plan: Iterable[RunSpec], left: Counter[str]) -> Iterator[Earlier]:
    """Runs of ``plan`` that earlier code has stored and that may be carried over; ``left`` counts others by reason."""
    code = Freshness(store)
    wanted = {spec.identity: spec for spec in plan}
    newest: dict[str, Result] = {}
    with warnings.catch_warnings(action="ignore"):  # specs of methods and settings that are unknown here
        for result in sorted(store.results(), key=lambda result: result.started):
            if code.state(result) == "stale" and (spec := store.spec(result.key)) and spec.identity in wanted:
                newest[spec.identity] = result
    for identity, result in newest.items():
        spec, environment = wanted[identity], store.environment(result.key)
        if result.status == "failed":
            left["failed: the next 'sharkbench run' does them again"] += 1
        elif environment is None or environment.git_dirty:
            left["made from files that no revision has: what made them cannot be said"] += 1
        else:
            before, now = store.code(result.key), code.code.closure(spec.roots)
            modules = [f"{name} {before.get(name)} {now.get(name)}" for name in changes(before, now)]
            unknown = [f"since {result.code}"]  # the changed modules are unknown
            yield Earlier(result, spec, frozenset(modules if before and modules else unknown), environment)


def draw(runs: Sequence[Earlier], store: Store) -> list[Earlier]:
    """For each method the cheapest runs that cover all modules changed since any of its runs; runs that the present
    code has repeated already cost nothing. Runs with models come first: an infeasible run only verifies sizes."""
    drawn: list[Earlier] = []
    for own in _by_method(runs).values():
        uncovered = frozenset[str]().union(*(one.changed for one in own))

        def cost(one: Earlier) -> tuple[bool, bool, float, str]:
            return one.result.status != "ok", store.get(one.spec.key) is None, one.result.seconds, one.result.key

        for one in sorted(own, key=cost):
            if one.changed & uncovered:
                drawn.append(one)
                uncovered -= one.changed
    return drawn


def _judge_and_carry(
    found: Sequence[Earlier], drawn: Sequence[Earlier], store: Store, again: Store, outcome: Outcome
) -> None:
    by_method, differences, most = _by_method(drawn), list[float](), math.inf
    agreed: dict[frozenset[str], list[tuple[Earlier, Result, Environment]]] = {}
    for method, own in by_method.items():
        pairs, wrong = [], []
        for one in own:
            outcome.drawn.append(one.name)
            now, environment = _now(one, store, again), _environment(one, store, again)
            if now is None or environment is None:
                wrong.append(f"{one.name}: could not be done again")
                continue
            said = difference(one.result, now, bits=environment.arithmetic == one.environment.arithmetic)
            wrong += [f"{one.name}: {said}"] if said else []
            pairs.append((one, now, environment))
            if environment.arithmetic != one.environment.arithmetic:
                differences.append(largest_difference(one.result, now))
                most = one.result.metric.typical_spread or 0.0
        outcome.differing += wrong
        if not wrong:
            agreed[method] = pairs
    if differences and len(differences) >= 5 and median(differences) > most:
        outcome.differing.append(
            f"on other hardware or torch the drawn runs differ by {median(differences):.4f} in the median, such pairs "
            f"by at most {most:.4f}: something else differs too"
        )
        agreed = {}
    for one in found:
        pairs = agreed.get(one.method, [])
        covered = frozenset[str]().union(*(drawn_one.changed for drawn_one, _, _ in pairs))
        if one.method not in agreed:
            outcome.left["of a method of which a drawn run came out differently"] += 1
        elif not one.changed <= covered:
            outcome.left["of code of which no run could be drawn"] += 1
        elif _carry(one, pairs, store):
            outcome.carried[one.spec.method_label] += 1


def _carry(one: Earlier, pairs: Sequence[tuple[Earlier, Result, Environment]], store: Store) -> bool:
    """Store a run under the key of the present code. The earlier run is removed once that is on disk."""
    key, old = one.spec.key, store.directory(one.result.key)
    known = store.verified(one.result.key)
    step = Verification(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        code=one.result.code,
        revision=_revision(),
        drawn=tuple(drawn.result.key for drawn, _, _ in pairs),
        hardware=pairs[0][2].hardware,
        torch=pairs[0][2].torch,
        same_hardware=all(drawn.environment.arithmetic == now.arithmetic for drawn, _, now in pairs),
        largest_difference=max(largest_difference(drawn.result, now) for drawn, now, _ in pairs),
    )
    with store.lock(one.result.key), store.lock(key):
        if store.get(key) is not None:
            return False
        directory = store.begin(key)
        for file in old.iterdir():
            if file.name not in (SPEC, RESULT, CODE, VERIFIED):
                os.link(file, directory / file.name)
        facts = {name: value for name, value in facts_of(one.spec).items() if name != "method_config"}
        write_text(directory / SPEC, one.spec.model_dump_json(indent=1))
        write_text(directory / RESULT, one.result.model_copy(update=facts).model_dump_json(indent=1))
        write_text(directory / CODE, json.dumps(Freshness(store).code.closure(one.spec.roots), indent=1))
        steps = (*(known.steps if known else ()), step)
        write_text(directory / VERIFIED, Verified(steps=steps).model_dump_json(indent=1))
        store.publish(directory, key)
        shutil.rmtree(old)
    return True


def _revision() -> str | None:
    """Git revision of the present code, with ``+`` if files differ from it."""
    revision, dirty = git_state()
    return revision + "+" * bool(dirty) if revision else None


def _now(one: Earlier, store: Store, again: Store) -> Result | None:
    return next((r for place in (store, again) if (r := place.get(one.spec.key)) and r.status != "failed"), None)


def _environment(one: Earlier, store: Store, again: Store) -> Environment | None:
    place = store if store.get(one.spec.key) is not None else again
    return place.environment(one.spec.key)


def _by_method(runs: Iterable[Earlier]) -> Mapping[frozenset[str], list[Earlier]]:
    groups: dict[frozenset[str], list[Earlier]] = defaultdict(list)
    for one in runs:
        groups[one.method].append(one)
    return groups


def _threads(specs: Sequence[RunSpec]) -> int:
    return max(spec.train.cores for spec in specs)


def opened(out: Path) -> Store:
    """Open the store to verify.

    Raises:
        InputError: there is no store.
    """
    if (out / "runs").is_dir():
        return Store(out)
    if (out / "store.parquet").is_file():
        raise InputError(
            f"{out} holds an archive only: unpack it with 'sharkbench merge {out}/store.parquet --out {out}'"
        )
    raise InputError(f"{out}: no results are here; name the --out of a suite")
