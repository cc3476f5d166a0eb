"""YAML with places: what it reads, and what it refuses before it can cost anything."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sharkbench.errors import InputError
from sharkbench.suite import document
from sharkbench.suite.document import parse, read


def plain(text: str) -> object:
    return parse(text, "s.yaml").plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("+.5", 0.5),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("on", "on"),
        ("NO", "NO"),
        ("true", True),
        ("'true'", "true"),
        ("~", None),
        ("", None),
        ("2020-01-01", "2020-01-01"),
        ("12:30", "12:30"),
        ("'0.5'", "0.5"),
        ("1_000", "1_000"),
        ("64MB", "64MB"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_nan_is_a_number() -> None:
    number = plain(".nan")
    assert isinstance(number, float)
    assert math.isnan(number)


def test_nodes_know_their_lines() -> None:
    root = parse("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "s.yaml")
    entries = root.get("b")
    assert entries is not None
    second = entries.get(1)
    assert second is not None
    assert [root.place, entries.place, second.place] == ["s.yaml:1", "s.yaml:2", "s.yaml:4"]
    assert second.get("d").place == "s.yaml:5"  # type: ignore[union-attr]
    assert root.plain() == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}


def test_aliases_repeat_what_they_stand_for() -> None:
    assert plain("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "s.yaml:3: the key 'a' stands here for the second time (first: s.yaml:1)"),
        ("a: 1\n---\nb: 2", "s.yaml:2: a second document starts here; a suite is one"),
        (
            "a: !!python/object/apply:os.system [x]",
            "s.yaml:1: the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: !env X", "s.yaml:1: the tag '!env' is not allowed"),
        ("x: &a {b: 1}\ny:\n  <<: *a", "s.yaml:3: the merge key '<<' is not allowed"),
        ("a: *b", "s.yaml:1: "),
        ("a: &a [*a]", "s.yaml:1: '*a' stands for nothing"),
        ("a: [1, 2", "s.yaml:1: not YAML: "),
        ("a: 1\n\tb: 2", "s.yaml:2: not YAML: "),
        ("a: 1\n b: 2", "s.yaml:2: not YAML: "),
        ("? [1, 2]\n: 3", "s.yaml:1: a key must be a word"),
        ("a: \x00", "not YAML: "),
    ],
)
def test_refuses_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "s.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    with pytest.raises(InputError, match=r"s\.yaml:\d: more than 20,000 values"):
        parse("\n".join(lines), "s.yaml")


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"s\.yaml:1: (nested more than|not YAML)"):
        parse(text, "s.yaml")


def test_aliases_do_not_get_around_the_depth() -> None:
    deep = "[" * 25 + "1" + "]" * 25
    with pytest.raises(InputError, match="nested more than 40 levels"):
        parse(f"a: &a {deep}\nb: {'[' * 25}*a{']' * 25}", "s.yaml")


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(60 << 20)
    with pytest.raises(InputError, match="more than 1,048,576 bytes"):
        read(large)
    with pytest.raises(InputError, match="more than 1,048,576 bytes"):
        read(Path("/dev/zero"))


def test_many_values_are_refused(tmp_path: Path) -> None:
    wide = tmp_path / "wide.yaml"
    wide.write_text("a: [" + "1," * (document.MAX_NODES + 1) + "]")
    with pytest.raises(InputError, match="more than 20,000 values"):
        read(wide)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "a suite is a mapping"),
        (b"a: 1\nb: \xff\n", ":2: not UTF-8 text"),
        (b"PK\x03\x04\x00\x00", "not YAML"),
    ],
)
def test_files_that_are_no_suite(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(file).plain() == {"a": 1}
