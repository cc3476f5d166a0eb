"""Exit with one line unless a leaderboard has a good row for every method of its suite at every budget.

usage: check_leaderboard.py LEADERBOARD SUITE [--seeds N]
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from sharkbench.suite.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("leaderboard", type=Path)
    parser.add_argument("suite")
    parser.add_argument("--seeds", type=int)
    arguments = parser.parse_args()

    suite = load(arguments.suite)
    seeds = arguments.seeds or len(suite.seeds)
    expected = {
        (entry.label, str(budget) if budget else "")
        for entry in suite.methods
        for budget in (suite.budgets if entry.spec.budgeted else (None,))
    }
    with arguments.leaderboard.open(newline="") as file:
        rows = {(row["method"], row["budget"]): row for row in csv.DictReader(file)}
    if missing := expected ^ set(rows):
        sys.exit(f"{arguments.leaderboard}: these rows are missing, or nobody asked for them: {sorted(missing)}")
    for name, row in rows.items():
        good = (
            row["status"] == "ok"
            and int(row["n_seeds"]) == seeds
            and 0.5 < float(row["auc_mean"]) < 1
            and float(row["bytes_ratio"]) <= float(row["budget"] or 1.01)
            and float(row["lookups_per_second"]) > 0
        )
        if not good:
            sys.exit(f"{arguments.leaderboard}: the row of {name} is not as it should be: {row}")
    print(f"{arguments.leaderboard}: {len(rows)} rows as expected")


if __name__ == "__main__":
    main()
