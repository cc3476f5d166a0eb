"""Reads YAML into nodes that know their position, so that an error message can name the line.

The result is plain data: mappings, lists, text, numbers, true/false and null, by the rules of YAML 1.2 (``1e-3`` is a
number, ``no`` is text). Tags, merge keys and second documents are refused, and so is a document too large for a suite,
before it takes memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from sharkbench.errors import InputError

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 40

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {"": None, "~": None, **dict.fromkeys(("null", "Null", "NULL"), None)}
_WORDS |= {**dict.fromkeys(("true", "True", "TRUE"), True), **dict.fromkeys(("false", "False", "FALSE"), False)}


@dataclass(frozen=True)
class Node:
    """A value and its position (``file:line``, or ``--set key``).

    ``size`` counts this node and all below it, ``height`` the levels below it.
    """

    value: dict[str, Node] | list[Node] | str | int | float | bool | None
    place: str
    size: int = 1
    height: int = 0

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def get(self, step: str | int) -> Node | None:
        """The node at a key or an index."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step]
        return None


def read(path: Path) -> Node:
    """Read the YAML mapping in a file.

    Raises:
        InputError: the file is not readable, not YAML, not a mapping, or too large.
    """
    try:
        if path.is_fifo():
            raise InputError(f"{path}: is a pipe, which might never end; give a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (relative paths start at {Path.cwd()})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES:,} bytes, that is no suite")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text") from None
    node = parse(text, str(path))
    if not isinstance(node.value, dict):
        what = "is empty" if node.value is None else "a suite is a mapping of keys to values"
        raise InputError(f"{path}: {what}; it starts with lines like 'datasets: [synthetic]'")
    # Errors about the suite as a whole have no line.
    return Node(node.value, str(path))


def parse(text: str, source: str, *, lines: bool = True) -> Node:
    """Parse the one YAML document in ``text``; positions read ``source:line``, or just ``source`` without ``lines``.

    Raises:
        InputError: the text is not YAML, or too large.
    """
    try:
        return _Composer(text, source, lines).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # The parser reports something missing at the end on the line after the last.
        place = f"{source}:{min(mark.line, text.rstrip().count(chr(10))) + 1}" if lines and mark else source
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        context = getattr(error, "context", None)
        raise InputError(f"{place}: not YAML: {context + ', ' if context else ''}{problem}") from None


class _Composer:
    """Composes nodes from events. Aliases share nodes but count with their full size, so that expansion is bounded."""

    def __init__(self, text: str, source: str, lines: bool) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self.source, self.lines = source, lines
        self.anchors: dict[str, Node] = {}
        self.nodes = 0

    def document(self) -> Node:
        next(self.events)  # start of the stream
        if isinstance(next(self.events), StreamEndEvent):
            return Node(None, self.source)
        root = self._node(next(self.events), 0)
        next(self.events)  # end of the document
        if isinstance(event := next(self.events), DocumentStartEvent):
            raise InputError(f"{self._place(event)}: a second document starts here; a suite is one")
        return root

    def _place(self, event: Any) -> str:
        return f"{self.source}:{event.start_mark.line + 1}" if self.lines else self.source

    def _count(self, event: Any, size: int) -> None:
        self.nodes += size
        if self.nodes > MAX_NODES:
            raise InputError(f"{self._place(event)}: more than {MAX_NODES:,} values, that is no suite")

    def _check_depth(self, place: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InputError(f"{place}: nested more than {MAX_DEPTH} levels deep, that is no suite")

    def _node(self, event: Any, depth: int, place: str | None = None) -> Node:
        place = place or self._place(event)
        self._check_depth(place, depth)
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                raise InputError(
                    f"{place}: '*{event.anchor}' stands for nothing; '&{event.anchor}' must come before it"
                )
            found = self.anchors[event.anchor]
            self._count(event, found.size)
            self._check_depth(place, depth + found.height)
            return found
        if event.tag is not None and event.tag != "!":
            raise InputError(f"{place}: the tag '{event.tag}' is not allowed; a suite is plain data")
        self._count(event, 1)
        before = self.nodes
        value: Any
        if isinstance(event, ScalarEvent):
            value = _scalar(event.value) if event.implicit[0] else event.value
        elif isinstance(event, SequenceStartEvent):
            value = []
            while not isinstance(item := next(self.events), SequenceEndEvent):
                value.append(self._node(item, depth + 1))
        else:
            assert isinstance(event, MappingStartEvent)
            value = self._mapping(depth)
        below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        height = 1 + max((node.height for node in below), default=-1)
        node = Node(value, place, 1 + self.nodes - before, height)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _mapping(self, depth: int) -> dict[str, Node]:
        value: dict[str, Node] = {}
        while isinstance(key := next(self.events), ScalarEvent):
            place = self._place(key)
            if key.value == "<<" and key.implicit[0]:
                raise InputError(f"{place}: the merge key '<<' is not allowed; use 'extends' or write the keys out")
            if key.value in value:
                first = value[key.value].place
                raise InputError(f"{place}: the key '{key.value}' stands here for the second time (first: {first})")
            # A collection gets the line of its key, where a reader looks for it.
            item = next(self.events)
            value[key.value] = self._node(item, depth + 1, None if isinstance(item, ScalarEvent) else place)
        if not isinstance(key, yaml.MappingEndEvent):
            raise InputError(f"{self._place(key)}: a key must be a word, not a list or a mapping")
        return value


def _scalar(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 40:
        return int(text, 0) if text.startswith("0o") or text.startswith("0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text
