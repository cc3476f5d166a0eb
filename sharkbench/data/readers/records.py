"""Reads text in blocks that end at row ends, with line ends inside quotes handled."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sharkbench.errors import DataError

BLOCK_BYTES = 2 << 20
"""Bytes parsed at once, and the longest row. Blocks that fit into a core's caches parse almost twice as fast."""
_LF, _CR = 10, 13


class _Readable(Protocol):
    def read(self, nbytes: int) -> bytes: ...


class Records:
    """A file whose reads return whole rows, so that Arrow, which cuts at line ends, never cuts within quotes.

    A quote opens a value only as the value's first character, and closes it if it is not doubled; other quotes are
    text. Rows swallowed by an open quote are refused if they can be distinguished from values with line ends (see
    :meth:`_check`), otherwise counted in ``doubtful``.

    Args:
        quote: the quote character, ``""`` for none.
        within_line: values end in the line where they begin.
        header: whether to skip the first row.
    """

    closed = False

    def __init__(
        self, raw: _Readable, place: str, columns: int, separator: str, quote: str, within_line: bool, header: bool
    ) -> None:
        self._raw, self._place, self._columns, self._within_line = raw, place, columns, within_line
        self._separator, self._quote = ord(separator), quote.encode()
        self._ends = np.array([self._separator, _LF, _CR, *self._quote], dtype=np.uint8)
        self._tail = b""
        self._line = 1
        self._started = False
        self._skip_row = header
        self.doubtful = 0
        """Number of quoted values that look like the rest of one row and the start of a later one."""
        self.first_doubtful = 0
        """Line of the first such value."""

    def read(self, nbytes: int | None = None) -> bytes:
        """The next rows, at most :data:`BLOCK_BYTES`; nothing at the end.

        Raises:
            DataError: a row is longer than that, or quotes have swallowed rows.
        """
        while True:
            more = self._more(BLOCK_BYTES - len(self._tail))
            data = self._tail + more
            if not data:
                return b""
            at_end = len(data) < BLOCK_BYTES
            end = self._last_end(data, at_end)
            if not end:
                raise DataError(
                    f"{self._place}, line {self._line}: a row is longer than {BLOCK_BYTES:,} bytes; correct it"
                    + ("" if not self._quote or self._quote not in data else self._remedy)
                )
            block, self._tail = data[:end], data[end:]
            start = self._first_end(block) if self._skip_row else 0
            self._skip_row = False
            self._line += block.count(b"\n")
            if start < len(block):
                return block[start:]

    def _more(self, size: int) -> bytes:
        pieces = []
        while size and (piece := self._raw.read(size)):
            pieces.append(piece)
            size -= len(piece)
        more = b"".join(pieces)
        if not self._started and more:
            self._started = True
            more = more.removeprefix(b"\xef\xbb\xbf")
        return more

    def _last_end(self, data: bytes, at_end: bool) -> int:
        """Length in bytes of the complete rows in ``data``."""
        if not self._quote or self._quote not in data:
            return len(data) if at_end else (data.rfind(b"\n") + 1 or data[:-1].rfind(b"\r") + 1)
        signs = np.frombuffer(data, dtype=np.uint8)
        opens, closes = self._quoted(signs)
        self._check(signs, opens, closes, at_end)
        if at_end:
            return len(data)
        for sign, known in ((_LF, len(data)), (_CR, len(data) - 1)):
            lines = np.flatnonzero(signs[:known] == sign)
            # outside quotes: equal numbers of quotes have opened and closed
            outside = lines[np.searchsorted(opens, lines) == np.searchsorted(closes, lines)]
            if len(outside):
                return int(outside[-1]) + 1
        return 0

    def _first_end(self, block: bytes) -> int:
        signs = np.frombuffer(block, dtype=np.uint8)
        opens, closes = self._quoted(signs)
        for sign in (_LF, _CR):
            lines = np.flatnonzero(signs == sign)
            outside = lines[np.searchsorted(opens, lines) == np.searchsorted(closes, lines)]
            if len(outside):
                return int(outside[0]) + 1
        return len(block)

    def _quoted(self, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions where quoted values open and close; the last one may still be open."""
        quotes = np.flatnonzero(signs == self._quote[0]) if self._quote else np.zeros(0, np.int64)
        opens, closes = quotes[::2], quotes[1::2]
        before = signs[np.maximum(opens - 1, 0)]
        after = signs[np.minimum(closes + 1, len(signs) - 1)]
        regular = (opens == 0) | np.isin(before, self._ends)
        if regular.all() and (np.isin(after, self._ends) | (closes == len(signs) - 1)).all():
            # a doubled quote closes and opens again at once
            again = np.flatnonzero(opens[1:] == closes[: len(opens) - 1] + 1)
            return np.delete(opens, again + 1), np.delete(closes, again)
        return self._quoted_one_by_one(signs, quotes.tolist())

    def _quoted_one_by_one(self, signs: np.ndarray, quotes: list[int]) -> tuple[np.ndarray, np.ndarray]:
        starts = {self._separator, _LF, _CR}
        found: tuple[list[int], list[int]] = [], []
        inside, doubled = False, -1
        for at, following in zip(quotes, [*quotes[1:], -1], strict=True):
            if inside:
                if at == doubled:
                    continue
                if following == at + 1:
                    doubled = following
                    continue
                found[1].append(at)
                inside = False
            elif at == 0 or int(signs[at - 1]) in starts:
                found[0].append(at)
                inside = True
        return np.array(found[0], dtype=np.int64), np.array(found[1], dtype=np.int64)

    def _check(self, signs: np.ndarray, opens: np.ndarray, closes: np.ndarray, at_end: bool) -> None:
        """Check the values that contain a line end.

        Raises:
            DataError: no value may contain one (``within_line``), a value is never closed, or it is closed amid text.
        """
        self._check_closed(signs, opens[: len(closes)], closes, at_end)
        if at_end and len(opens) > len(closes):
            self._refuse(signs, opens[-1], "a quote opens a value that never ends")

    def _check_closed(self, signs: np.ndarray, opens: np.ndarray, closes: np.ndarray, at_end: bool) -> None:
        lines = np.flatnonzero(signs == _LF)
        ends = np.searchsorted(lines, closes) - np.searchsorted(lines, opens)
        several = np.flatnonzero(ends)
        if not len(several):
            return
        opens, closes, ends = opens[several], closes[several], ends[several]
        after = signs[np.minimum(closes + 1, len(signs) - 1)]
        amid = ~np.isin(after, self._ends) & (closes < len(signs) - 1)
        if self._within_line:
            self._refuse(signs, opens[0], "a quote opens a value that goes on in the next line")
        if amid.any():
            self._refuse(signs, opens[amid][0], "a quote opens a value that ends amid text of a later line")
        separators = np.flatnonzero(signs == self._separator)
        inside = np.searchsorted(separators, closes) - np.searchsorted(separators, opens)
        doubtful = (inside == ends * (self._columns - 1)) & (inside > 0)
        # the part that is cut off will be checked with the next rows
        doubtful &= True if at_end else closes < (lines[-1] if len(lines) else 0)
        if doubtful.any():
            self.first_doubtful = self.first_doubtful or self._line_of(signs, opens[doubtful][0])
            self.doubtful += int(doubtful.sum())

    def _line_of(self, signs: np.ndarray, at: int) -> int:
        return self._line + int((signs[:at] == _LF).sum())

    @property
    def _remedy(self) -> str:
        stated = "; where values may hold line ends, set quote to the sign" if self._within_line else ""
        return f"; where quotes are text, set quote: none{stated}"

    def _refuse(self, signs: np.ndarray, at: int, what: str) -> None:
        raise DataError(f"{self._place}, line {self._line_of(signs, at)}: {what}{self._remedy}")

    def readable(self) -> bool:
        """Required by Arrow."""
        return True

    def close(self) -> None:
        """Required by Arrow; the underlying file is closed by its opener."""
        self.closed = True
