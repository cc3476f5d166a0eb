"""What a digest of code covers, and what it does not mind."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharkbench.contract import registry
from sharkbench.errors import InputError
from sharkbench.keys import closure
from sharkbench.keys.closure import Snapshot, changes, digest_of, normalised, source_of

ROOT = Path(__file__).resolve().parents[2]

SOURCE = '''
"""What it is."""
import math
from pydantic import BaseModel


class Setting(BaseModel):
    """A setting."""

    rate: float = 0.5
    """How fast."""
    names: tuple[str, ...] = ("a", 'b')

    def decayed(self, steps: int) -> float:
        """After ``steps``."""
        # A comment.
        return self.rate * math.exp(-steps / 10) if steps else f"{self.rate:.3f} {steps!r:>{3}}" + f"{steps=}"
'''


def test_words_and_layout_are_left_out() -> None:
    said = normalised(SOURCE)

    assert normalised(SOURCE.replace("# A comment.", "# Another comment, of two\n        # lines.")) == said
    assert normalised(SOURCE.replace('"""How fast."""', "")) == said
    assert normalised(SOURCE.replace('"""A setting."""', '"""A setting, explained."""')) == said
    assert normalised(SOURCE.replace("(\"a\", 'b')", "(\n        'a',\n        'b',\n    )")) == said
    assert normalised(SOURCE + "\n__version__ = '9.9'\n") == said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"), ("10", "10.0"), ("-steps", "steps"), ('"a"', '"c"'), ("exp", "exp2"), ("float", "int"),
        (".3f", ".4f"), ("!r", "!s"), ("rate: float", "speed: float"), ("(self, steps: int)", "(self, *, steps: int)"),
        ("import math\n", "import cmath as math\n"), ("if steps", "if not steps"),
    ],
)  # fmt: skip
def test_whatever_may_change_a_number_is_told_apart(old: str, new: str) -> None:
    assert old in SOURCE
    assert normalised(SOURCE.replace(old, new)) != normalised(SOURCE)


@given(st.lists(st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())))
def test_constants_of_every_kind_are_told_apart(values: list[object]) -> None:
    texts = {repr(value) for value in values}
    assert len({normalised(f"x = {text}") for text in texts}) == len(texts)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_comes_to_the_same(version: str) -> None:
    """Of every file of the project; the module needs nothing but Python itself."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    known = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    pythons = [p for p in known if p and subprocess.run([p, "-c", ""], capture_output=True).returncode == 0]
    if not pythons:
        pytest.skip(f"python{version} is not installed here")
    files = sorted([*(ROOT / "sharkbench").rglob("*.py"), *(ROOT / "methods").rglob("*.py"), Path(__file__)])
    program = """if True:
        import importlib.util, json, sys
        sys.path.insert(0, sys.argv[2])
        spec = importlib.util.spec_from_file_location("closure", sys.argv[1])
        module = sys.modules["closure"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        contents = [open(file, "rb").read() for file in json.load(sys.stdin)]
        print(json.dumps([module._hash(module.normalised(content).encode()) for content in contents]))
    """
    done = subprocess.run(
        [pythons[0], "-c", program, closure.__file__, str(ROOT)], input=json.dumps([str(f) for f in files]), text=True,
        capture_output=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout) == [closure._hash(normalised(file.read_bytes()).encode()) for file in files]


def test_f_strings_in_pieces_are_what_they_are_as_one() -> None:
    """Pythons cut them differently."""
    pieces = [ast.Constant("a"), ast.Constant("b"), ast.FormattedValue(ast.Name("x"), -1), ast.Constant("")]
    whole = [ast.Constant("ab"), ast.FormattedValue(ast.Name("x"), -1)]
    said: tuple[list[str], list[str]] = ([], [])
    closure._write(ast.JoinedStr(pieces), said[0])
    closure._write(ast.JoinedStr(whole), said[1])

    assert said[0] == said[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's: ``method`` imports in every way that there is."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"somebody_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    (folder / "deep").mkdir(parents=True)
    files = {
        "__init__.py": "def __getattr__(name):\n    from . import forwarded\n    return getattr(forwarded, name)\n",
        "method.py": (
            "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nimport json, torch\n"
            "from . import sibling\nfrom .deep.inner import thing\n"
            "if TYPE_CHECKING:\n    from . import typed\nelse:\n    from . import not_typed\n"
            "def later():\n    from sharkbench.seeds import derive\n    import importlib\n"
            f"    importlib.import_module('{name}.named')\n"
        ),
        "deep/__init__.py": "",
        "deep/inner.py": "from ..shared import x\nthing = x\n",
        **{f"{n}.py": "x = 1\n" for n in ("sibling", "shared", "typed", "not_typed", "named", "forwarded", "other")},
    }
    for path, text in files.items():
        (folder / path).write_text(text)
    return folder


def test_everything_that_is_imported_in_whatever_way_is_in_it(package: Path) -> None:
    found = Snapshot().closure([f"{package.name}.method"])

    own = {name.removeprefix(f"{package.name}.") for name in found if name.startswith(package.name)}
    assert own == {package.name, "method", "sibling", "deep", "deep.inner", "shared", "not_typed", "named"}
    assert {name for name in found if name.startswith("sharkbench")} == {"sharkbench", "sharkbench.seeds"}
    assert not any(name.startswith(("torch", "json")) for name in found)


def test_names_that_a_package_forwards_bring_what_they_are_forwarded_from(package: Path) -> None:
    roots = [f"{package.name}.method"]
    assert f"{package.name}.forwarded" not in Snapshot().closure(roots)
    file = package / "method.py"
    file.write_text(file.read_text() + f"\n\nfrom {package.name} import something\n")
    assert f"{package.name}.forwarded" in Snapshot().closure(roots)


def test_what_is_installed_elsewhere_is_not_own(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment that borrows another one's packages."""
    place = tmp_path / "lib" / "site-packages"
    (place / "borrowed").mkdir(parents=True)
    (place / "borrowed" / "__init__.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(place))
    file = package / "method.py"
    file.write_text(file.read_text() + "\n\nimport borrowed\n")
    assert "borrowed" not in Snapshot().closure([f"{package.name}.method"])
    assert "borrowed" in Snapshot().closure(["borrowed"]), "a method may lie there"


def test_a_change_anywhere_in_it_is_seen_and_named(package: Path) -> None:
    roots = [f"{package.name}.method"]
    before = Snapshot().closure(roots)
    (package / "other.py").write_text("x = 2\n")
    assert Snapshot().closure(roots) == before, "nobody imports it"
    (package / "shared.py").write_text("x = 2\n")

    assert changes(before, Snapshot().closure(roots)) == [f"{package.name}.shared"]
    assert digest_of(before) != Snapshot().digest(roots)


def test_a_snapshot_is_of_one_moment(package: Path) -> None:
    snapshot, roots = Snapshot(), [f"{package.name}.method"]
    before = snapshot.digest(roots)
    (package / "shared.py").write_text("x = 2\n")

    assert snapshot.digest(roots) == before
    assert snapshot.digest([f"{package.name}.deep.inner"]) != Snapshot().digest([f"{package.name}.deep.inner"])


def test_what_is_remembered_is_what_would_be_found(package: Path, tmp_path: Path) -> None:
    roots, memory = [f"{package.name}.method"], tmp_path / "memory"
    first = Snapshot(memory).closure(roots)
    kept = {file.name: file.read_bytes() for file in memory.iterdir()}

    assert first == Snapshot(memory).closure(roots) == Snapshot().closure(roots)
    assert {file.name: file.read_bytes() for file in memory.iterdir()} == kept
    for file in memory.iterdir():
        file.write_text("not JSON")
    assert Snapshot(memory).closure(roots) == first
    (package / "shared.py").write_text("x = 3\n")
    assert changes(first, Snapshot(memory).closure(roots)) == [f"{package.name}.shared"]


def test_a_memory_that_cannot_be_written_to_costs_time_only(package: Path, tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file")
    roots = [f"{package.name}.method"]
    assert Snapshot(tmp_path / "memory").closure(roots) == Snapshot().closure(roots)


def test_a_file_that_is_no_python_has_a_digest_of_its_own(package: Path) -> None:
    (package / "sibling.py").write_text("def broken(:\n")
    first = Snapshot().digest([f"{package.name}.method"])
    (package / "sibling.py").write_text("def broken(::\n")
    assert Snapshot().digest([f"{package.name}.method"]) != first


def test_code_without_a_source_is_refused() -> None:
    with pytest.raises(InputError, match="no source file of"):
        Snapshot().closure(["no_such_module_anywhere.method"])


def test_methods_are_found_beside_the_package_and_in_it(tmp_path: Path) -> None:
    """A checkout and a wheel name the same modules the same."""
    assert source_of("sharkbench.methods.qr") == ROOT / "methods" / "qr.py"
    wheel = tmp_path / "sharkbench"
    shutil.copytree(ROOT / "sharkbench", wheel, ignore=shutil.ignore_patterns("__pycache__", "*.so", "csrc"))
    shutil.copytree(ROOT / "methods", wheel / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    roots = ["sharkbench.runner.cell", "sharkbench.methods.pep", "sharkbench.backbones.ctr.deepfm"]
    program = f"from sharkbench.keys.closure import Snapshot; print(Snapshot().digest({roots!r}))"
    # Isolated, with the folder of the wheel first: the checkout is out of sight.
    bare = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip

    assert bare.stdout.strip() == Snapshot().digest(roots)


def test_where_a_users_folder_lies_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for place in ("here", "there"):
        folder = tmp_path / place
        folder.mkdir()
        (folder / "mine.py").write_text(
            "from typing import Literal\nfrom sharkbench.contract.method import Method\nfrom ._parts import rows\n"
            "class Mine(Method):\n    name: Literal['mine'] = 'mine'\n"
            "    def compress(self, bench):\n        return rows\n"
        )
        (folder / "_parts.py").write_text("rows = 3\n")
        monkeypatch.setenv(registry.FOLDERS, str(folder))
        found = Snapshot().closure(registry.modules_of(registry.parse("mine")))
        assert {"user.mine", "user._parts"} <= found.keys()
        digests.add(digest_of(found))
    assert len(digests) == 1
