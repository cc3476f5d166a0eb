"""``claims``: test the claims of a suite on its results."""

from __future__ import annotations

from itertools import groupby

from sharkbench.cli.options import Out, Settings, SuiteName, opened
from sharkbench.errors import InputError


def claims(suite: SuiteName, settings: Settings = None, out: Out = None) -> None:
    """Test the claims of a suite on its results, and write all findings as CSV."""
    from sharkbench.cli.console import table
    from sharkbench.leaderboard.cells import cells_of
    from sharkbench.leaderboard.claims import findings_of, overall, write_claims
    from sharkbench.leaderboard.terminal import STALE
    from sharkbench.results import archive

    loaded, out_dir = opened(suite, settings, out)
    if not loaded.claims:
        raise InputError(f"{suite}: claims nothing; state what to check under 'claims:'")
    if not out_dir.is_dir():
        raise InputError(f"{out_dir}: no such directory; 'sharkbench run {suite}' makes it, or name another --out")
    with archive.opened(out_dir) as store:
        findings = findings_of(store, loaded.claims)
        stale = sum(cell.state == "stale" for cell in cells_of(store))
        # Results from an archive are only shown; their files are not rewritten.
        path = out_dir / "claims.csv" if store.out == out_dir else None
    for says, group in groupby(findings, key=lambda finding: finding.claim.says):
        members = list(group)
        print(f"\n{overall(members).upper()}: {says}")
        rows = []
        for one in members:
            where = ", ".join(part for part in (one.dataset, one.backbone, one.label, one.budget) if part)
            value = "" if one.value is None else f"{one.value:.5g}"
            interval = f"{one.interval.low:.5g} to {one.interval.high:.5g}" if one.interval else ""
            rows.append((where, one.against, value, interval, one.n or "", one.verdict))
        table(("where", "against", "value", "95% interval", "seeds", "verdict"), rows, right=("value", "seeds"))
    if stale:
        print(f"\n{stale} rows of these results are stale: {STALE}")
    if path is not None:
        write_claims(path, findings)
        print(f"\n{path}")
