"""Generates rows in the raw format of Criteo's Kaggle data: label, 13 integers and 26 hashed categories, tab separated.

    python benchmarks/criteo_rows.py 45800000 train.txt [--seed 0]

The categories have as many possible values as the public data set has (33.8 million in all), drawn with a probability
of 1 over their rank, so that the number of distinct ones grows with the rows; values are eight hexadecimal digits.
Integers are rounded log-normal, and each column misses values at a rate of its own. About 210 bytes per row.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

# Distinct values of C1 to C26 in the Kaggle data set, as Facebook's DLRM counts them:
# https://github.com/facebookresearch/dlrm
CARDINALITIES = (
    *(1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194),
    *(27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572),
)
INTEGERS = 13
CHUNK = 250_000


def chunk(rows: int, seed: int, number: int) -> pa.Table:
    """``rows`` rows, the same for the same ``seed`` and ``number``, every column as text."""
    rng = np.random.default_rng([seed, number])
    columns = {"label": pa.array(rng.random(rows) < 0.256).cast(pa.int8()).cast(pa.string())}
    for index in range(1, INTEGERS + 1):
        scale = np.random.default_rng([seed, index]).uniform(0.5, 5.0)
        values = np.floor(np.exp(rng.normal(scale, 1.5, rows))).astype(np.int64) - (1 if index == 2 else 0)
        columns[f"I{index}"] = _with_gaps(pa.array(values).cast(pa.string()), f"I{index}", rng)
    for index, cardinality in enumerate(CARDINALITIES, 1):
        ranks = np.floor(np.exp(rng.random(rows) * np.log(cardinality + 1.0))).astype(np.uint64) - np.uint64(1)
        columns[f"C{index}"] = _with_gaps(_hexadecimal(ranks, index), f"C{index}", rng)
    return pa.table(columns)


def _hexadecimal(ranks: np.ndarray, salt: int) -> pa.Array:
    """Eight digits for each of ``ranks`` ``[n]``; different ranks of one column have different digits."""
    mixed = ((ranks + np.uint64(salt * 40_000_003)) * np.uint64(2_654_435_761)) % np.uint64(2**32)
    nibbles = mixed[:, None] >> np.arange(28, -1, -4, dtype=np.uint64) & np.uint64(15)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)[nibbles]
    ends = np.arange(len(ranks) + 1, dtype=np.int32) * 8
    return pa.Array.from_buffers(pa.string(), len(ranks), [None, pa.py_buffer(ends), pa.py_buffer(digits.copy())])


def _with_gaps(values: pa.Array, name: str, rng: np.random.Generator) -> pa.Array:
    share = zlib.crc32(name.encode()) % 45 / 100
    return pc.if_else(pa.array(rng.random(len(values)) < share), "", values)


def write(path: Path, rows: int, seed: int = 0) -> None:
    """A file of ``rows`` rows at ``path``."""
    options = pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as file:
        for number, start in enumerate(range(0, rows, CHUNK)):
            pacsv.write_csv(chunk(min(CHUNK, rows - start), seed, number), file, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.path, args.rows, args.seed)
    print(f"{args.path}: {args.rows:,} rows, {args.path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
