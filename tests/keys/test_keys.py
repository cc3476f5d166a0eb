"""A run's key covers the code that its result depends on, and no other: by mutation, and by what runs."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sharkbench.contract import check, registry
from sharkbench.data.prepare import prepared_path
from sharkbench.errors import Infeasible
from sharkbench.keys import closure
from sharkbench.keys.closure import SAME_BITS, Snapshot
from sharkbench.model import artifact
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec

ROOT = Path(__file__).resolve().parents[2]
METHODS = registry.names()
WITH_DEFAULTS = [name for name in METHODS if registry.has_defaults(registry.get(name))]
APART = (
    *("api", "cli", "leaderboard", "machine.doctor", "search", "tracking", "contract.check", "contract.template"),
    *("results.store", "runner.local", "runner.schedule", "runner.ray", "runner.verify", "suite.plan", "suite.load"),
    "formats.gpu",
)
"""What starts, stores, shows and looks for runs decides none."""


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunSpec]:
    suite = load(
        {"name": "s", "datasets": ["synthetic"], "backbones": ["deepfm"], "methods": WITH_DEFAULTS, "budgets": [0.5]}
    )
    planned = plan(suite, cache_dir=tmp_path_factory.mktemp("cache"))
    return {spec.method.name: spec for spec in planned}


@pytest.fixture(scope="module")
def modules(specs: dict[str, RunSpec]) -> dict[str, frozenset[str]]:
    """Of each method's run."""
    code = Snapshot()
    return {name: frozenset(code.closure(spec.roots)) for name, spec in specs.items()}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code, where it can be changed."""
    for folder in ("sharkbench", "methods"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    monkeypatch.setattr(closure, "_top", lambda name: (tmp_path / name / "__init__.py", [tmp_path / name]))
    monkeypatch.setattr(closure, "_methods", lambda: [tmp_path / "methods"])
    return tmp_path


def file_of(module: str, folder: Path) -> Path:
    parts = module.split(".")
    place = folder.joinpath(*(parts[1:] if parts[:2] == ["sharkbench", "methods"] else parts))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def test_changing_any_file_makes_the_runs_to_do_that_depend_on_it_and_no_other(
    copy: Path, specs: dict[str, RunSpec], modules: dict[str, frozenset[str]]
) -> None:
    roots = {name: spec.roots for name, spec in specs.items()}
    whole, shared = Snapshot(), frozenset.intersection(*modules.values())
    before = {name: whole.digest(own) for name, own in roots.items()}
    assert before == {name: spec.code for name, spec in specs.items()}
    for module in sorted(frozenset().union(*modules.values())):
        file = file_of(module, copy)
        source = file.read_text()
        file.write_text(source + "\n_CHANGED = 0.1\n")
        code = Snapshot()
        looked_at = sorted(roots)[::20] if module in shared else sorted(roots)
        affected = {name for name in looked_at if code.digest(roots[name]) != before[name]}
        file.write_text(source)

        assert affected == {name for name in looked_at if module in modules[name]}, module


@pytest.mark.parametrize(
    ("module", "old", "new", "method"),
    [
        ("methods.pep.rows", "relu", "relu6", "pep"),
        ("tables.composed", "0", "1", "qr"),
        ("formats.codec", "1", "2", "int8"),
        ("tasks.ctr.metrics", "0.5", "0.6", "full"),
        ("training.optimizers", "1", "2", "full"),
        ("backbones.networks.cross", "1", "2", None),
    ],
)
def test_a_changed_constant_names_other_runs(
    module: str, old: str, new: str, method: str | None, copy: Path, specs: dict[str, RunSpec]
) -> None:
    file = file_of(f"sharkbench.{module}", copy)
    source = file.read_text()
    code = source.split('"""', 2)[2]
    assert old in code, "the example is out of date"
    file.write_text(source.replace(code, code.replace(old, new)))
    now = Snapshot()

    spec = specs[method or "full"]
    assert (spec.by(now).key != spec.key) == (method is not None), "deepfm has no cross layers"
    assert (spec.by(now).full_key != spec.full_key) == (module.split(".")[0] in ("tasks", "training", "formats"))


@pytest.mark.parametrize(("module", "again"), [("data.encoders", True), ("data.readers.synthetic", True),
                                               ("data.leaks", True), ("data.readers.csv", False),
                                               ("training.fit", False)])  # fmt: skip
def test_prepared_data_is_named_by_what_reads_and_encodes_it(
    module: str, again: bool, copy: Path, specs: dict[str, RunSpec], tmp_path: Path
) -> None:
    dataset = specs["full"].dataset
    before = prepared_path(dataset, tmp_path / "cache")
    file = file_of(f"sharkbench.{module}", copy)
    file.write_text(file.read_text() + "\n_CHANGED = 0.1\n")
    assert (prepared_path(dataset, tmp_path / "cache") != before) == again


@contextmanager
def recorded() -> Iterator[set[str]]:
    """Modules of the project of which a function is called meanwhile, in whatever thread."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            files.add(frame.f_code.co_filename)

    found: set[str] = set()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        for file in map(Path, files):
            for folder, prefix in ((ROOT / "sharkbench", "sharkbench"), (ROOT / "methods", "sharkbench.methods")):
                if file.is_relative_to(folder):
                    parts = file.relative_to(folder).with_suffix("").parts
                    found.add(".".join([prefix, *(part for part in parts if part != "__init__")]))


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_whatever_runs_is_in_the_key(name: str, modules: dict[str, frozenset[str]]) -> None:
    method = registry.get(name)
    gc.collect()  # what other tests have left is not ended meanwhile
    with recorded() as ran:
        made = check._compressed.__wrapped__(method, "deepfm", 0.5 if check._default(method).budgeted else None)
        if isinstance(made, Infeasible):
            made = check._compressed.__wrapped__(method, "deepfm", 0.9)
        bench, model = made
        with tempfile.TemporaryDirectory() as folder:
            artifact.save(model.pack(), Path(folder), fingerprint="", backbone=bench.backbone)
            bench.evaluate(artifact.load_model(folder))
    # The contract's own bench; and what a GPU would be told, whose kernels have to give the bits of the plain path.
    outside = {
        module
        for module in ran
        if module.startswith(
            ("sharkbench.contract.check", "sharkbench.contract.registry", "sharkbench.tasks.registry", *SAME_BITS)
        )
    }

    assert "sharkbench.training.fit" in ran, "nothing was recorded"
    assert ran - outside <= modules[name], sorted(ran - outside - modules[name])


def test_what_does_not_decide_a_result_is_not_in_the_key(modules: dict[str, frozenset[str]]) -> None:
    apart = tuple(f"sharkbench.{name}" for name in APART)
    for name, own in modules.items():
        assert not [module for module in own if module.startswith(apart)], name
        made_of = set(registry.modules_of(registry.parse(name)))
        others = {module for module in own if module.startswith("sharkbench.methods.")} - made_of
        imported = set(Snapshot().closure(made_of))
        assert others <= imported
    assert "sharkbench.methods.f_quantization" in modules["shark"]
    assert "sharkbench.methods.pep" not in modules["shark"]
    assert "sharkbench.backbones.networks.deepfm" in modules["full"]
    assert "sharkbench.backbones.networks.dcnv2" not in modules["full"]
    assert "sharkbench.data.readers.synthetic" in modules["full"]
    assert "sharkbench.contract.budget" in modules["qr"], "it says how many bytes a fraction is"
    assert "sharkbench.data.readers.csv" not in modules["full"]
    assert "sharkbench.formats.tiered" in modules["f_quantization"] - modules["full"]
