"""What ``sharkbench doctor`` says of machines that this one is not."""

from __future__ import annotations

import pytest

from sharkbench.formats import gpu
from sharkbench.machine import doctor, environment


@pytest.mark.parametrize(("said", "state"), [("always", "ok"), ("madvise", "ok"), ("never", "note"), ("", "note")])
def test_huge_pages_that_tables_may_not_have_are_noted(said: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "huge_pages", lambda: said)
    found = doctor._huge_pages()
    assert (found.state, found.what) == (state, "huge pages")
    assert said in found.text
    assert ("as root" in found.text) == (said == "never"), "nothing to switch on where the system has none"


def test_the_choice_in_brackets_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: "always [madvise] never\n")
    assert environment.huge_pages() == "madvise"

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert environment.huge_pages() == ""


@pytest.mark.parametrize(
    ("reason", "state", "text"), [(None, "ok", "triton ("), ("triton is not installed", "note", "plain PyTorch")]
)
def test_a_gpu_has_triton_or_plain_torch(
    reason: str | None, state: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "gpu_names", lambda: ["a GPU"])
    monkeypatch.setattr(gpu, "why_not", lambda: reason)
    monkeypatch.setattr(gpu, "usable", lambda: reason is None)
    (found,) = doctor._gpu_kernels()
    assert (found.state, found.what) == (state, "gpu kernels")
    assert text in found.text


def test_nothing_is_said_of_kernels_for_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "gpu_names", list)
    assert not list(doctor._gpu_kernels())
