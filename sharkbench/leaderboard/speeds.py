"""Which of a run's many timings stand in a table of one row per run."""

from __future__ import annotations

from sharkbench.store import Speed, Timing


def own_size(speed: Speed) -> Timing | None:
    """The data's own ids on the table at its own size: fewest threads, largest batch."""
    found = [timing for timing in speed.lookups if timing.stream == "data"]
    return min(found, key=lambda timing: (timing.rows, timing.threads, -timing.batch), default=None)


def production_size(speed: Speed) -> Timing | None:
    """The largest table that was timed, if larger than the data's own: fewest threads, largest batch."""
    own = own_size(speed)
    larger = [timing for timing in speed.lookups if own is None or timing.rows > own.rows]
    streams = ("data", "zipf", "uniform")
    return min(larger, key=lambda timing: (-timing.rows, streams.index(timing.stream), timing.threads), default=None)


def lookup_ratio(speed: Speed) -> float | None:
    """Lookups per second of the data's own ids, relative to the fp32 table in the same measurement."""
    timing = own_size(speed)
    return timing.ratio_fp32 if timing else None
