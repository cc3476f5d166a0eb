"""README and docs say what is so: their suites are valid, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from sharkbench.cli.app import app
from sharkbench.suite.load import load

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = {"methods/my_method.py"}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_generated_tables_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page say after ``#``, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page

        assert "://" in link or target.exists(), link
        assert "://" in link or not heading or heading in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_paths_exist(page: Path) -> None:
    """Those of the repository; ``results/`` of a reader's own suites are not."""
    folders = "|".join(("benchmarks", "docs", "methods", "sharkbench", "suites", "tests"))
    paths = re.findall(rf"`((?:{folders})/[\w./*-]*)`", prose(page))

    assert [path for path in paths if path not in EXAMPLES and not list(ROOT.glob(path.rstrip("/")))] == []


def test_what_a_newcomer_reads_is_short() -> None:
    """From the README to a search, in half an hour."""
    path = ["README.md", *(f"docs/{page}.md" for page in ("suites", "data", "methods", "results", "report", "search"))]

    assert sum(len((ROOT / page).read_text(encoding="utf-8").split()) for page in path) < 6000


def test_every_page_is_reached_from_the_readme() -> None:
    found, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        found.add(page)
        links = (page.parent / link for link in re.findall(r"\]\(([^)#\s]+\.md)", prose(page)))
        ahead += {target for link in links if (target := link.resolve()) in PAGES} - found

    assert [named(page) for page in PAGES if page not in found] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_whole_suites_are_valid(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        if re.search(r"^datasets:", text, flags=re.MULTILINE) and re.search(r"^methods:", text, flags=re.MULTILINE):
            file = tmp_path / f"block{number}.yaml"
            file.write_text(text)
            assert load(str(file)).methods


def test_the_readme_has_a_suite() -> None:
    assert sum("datasets:" in text and "methods:" in text for text in blocks(ROOT / "README.md", "yaml")) >= 2


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    code = "\n".join(
        [*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))]
    )

    assert set(re.findall(r"^make ([a-z]+)", code, flags=re.MULTILINE)) <= targets
    for line in re.findall(r"^sharkbench (.+)$", code, flags=re.MULTILINE):
        command, *arguments = line.split()
        assert command.startswith("-") or command in COMMANDS, f"{named(page)}: sharkbench {line}"
        if not command.startswith("-") and not hasattr(COMMANDS[command], "commands"):
            known = {option for parameter in COMMANDS[command].params for option in parameter.opts} | {"--help"}
            used = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
            assert used <= known, f"{named(page)}: sharkbench {line}"


def test_the_quick_start_is_one_command() -> None:
    """It is what CI runs: see ``.ci/run``."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Quick start")[1].split("\n## ")[0]

    assert re.search(r"^```sh\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)[1] == "make quickstart\n"  # type: ignore[index]
