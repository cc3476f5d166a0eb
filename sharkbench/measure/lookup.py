"""Lookups per second of a packed layer, in turns with the fp32 table, and whole-model samples per second."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.nn import functional as F

from sharkbench.data.samples import Split
from sharkbench.data.schema import PADDING, Schema
from sharkbench.formats.dense import Dense
from sharkbench.formats.in_use import kernels_in_use
from sharkbench.formats.layer import PackedLayer
from sharkbench.measure.spec import MeasureSpec
from sharkbench.model.model import PackedModel
from sharkbench.results.records import Speed, Timing

TRIES = 3
"""Largest number of timings of a run while other processes keep the machine busy."""
BATCHES = 16
"""Number of batches in rotation: a single batch would stay in the cache."""

Stream = Literal["data", "uniform", "zipf"]


class Spread(NamedTuple):
    """Seconds per call over the rounds: median and quartiles."""

    median: float
    low: float
    high: float


def in_turns(
    contenders: dict[str, Callable[[int], object]], seconds: float, *, rounds: int | None = None
) -> dict[str, list[list[float]]]:
    """Seconds of every call of each contender, a list per round; contenders alternate within a round (A B C A B C ...).

    Args:
        contenders: called with the number of the batch, 0 to ``BATCHES - 1``.
        seconds: total time budget.
        rounds: number of rounds; by default as many as fit into ``seconds`` (at least 3).
    """
    calls: dict[str, int] = {}
    for name, call in contenders.items():
        warm = _timed(call, range(BATCHES))
        # A turn is long enough for the caches to settle, and short enough that a noisy neighbour affects all alike.
        calls[name] = max(1, min(256, int(0.004 / max(min(warm), 1e-7))))
    taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
    end, turn = time.perf_counter() + seconds, 0
    while (turn < rounds) if rounds is not None else (turn < 3 or time.perf_counter() < end):
        for name, call in contenders.items():
            taken[name].append(_timed(call, [(turn * calls[name] + i) % BATCHES for i in range(calls[name])]))
        turn += 1
    return taken


def spread(taken: Sequence[Sequence[float]]) -> Spread:
    """Median and quartiles of the rounds' medians."""
    rounds = [median(calls) for calls in taken]
    low, high = np.quantile(rounds, [0.25, 0.75])
    return Spread(median(rounds), float(low), float(high))


def ratio(rival: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]) -> float:
    """Median over the rounds of the rival's time divided by ours: above 1, ours is faster."""
    return median(median(r) / median(o) for r, o in zip(rival, ours, strict=True))


def _timed(call: Callable[[int], object], batches: Sequence[int]) -> list[float]:
    """Seconds of each call."""
    times, on_gpu = [], torch.cuda.is_available()
    for batch in batches:
        start = time.perf_counter()
        call(batch)
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Context in which torch, and with it every kernel, uses ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hardware(device: str = "cpu") -> str:
    """Name, for results, of the device that does the lookups, ``"cpu"`` or ``"cuda"``."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {psutil.cpu_count()} cores"


def data_stream(ids: Tensor, batch: int, seed: int = 0) -> list[Tensor]:
    """Batches of consecutive samples that start at random positions of ``ids`` ``[n, S]`` (in order, as in serving)."""
    generator = torch.Generator().manual_seed(seed)
    firsts = torch.randint(0, max(1, len(ids) - batch + 1), (BATCHES,), generator=generator).tolist()
    return [ids[(torch.arange(batch) + first) % len(ids)] for first in firsts]


def uniform_stream(schema: Schema, batch: int, seed: int = 0) -> list[Tensor]:
    """Batches of ids drawn uniformly from the rows of each field, every slot filled."""
    rng = np.random.default_rng(seed)
    fields = schema.slot_fields
    low, high = schema.offsets[:-1][fields], schema.offsets[1:][fields]
    return [
        torch.from_numpy(rng.integers(low, high, (batch, len(fields))).astype(_id_type(schema))) for _ in range(BATCHES)
    ]


def replicated_stream(batches: Sequence[Tensor], schema: Schema, times: int, seed: int = 0) -> list[Tensor]:
    """The same stream over a table with ``times`` as many rows: each id becomes one of its copies, drawn uniformly."""
    rng = np.random.default_rng(seed)
    starts = schema.offsets[:-1][schema.slot_fields]
    cardinalities = np.diff(schema.offsets)[schema.slot_fields]
    made = []
    for batch in batches:
        ids = batch.numpy().astype(np.int64)
        copies = rng.integers(0, times, ids.shape) * cardinalities
        moved = np.where(ids == PADDING, PADDING, ids - starts + copies + starts * times)
        made.append(torch.from_numpy(moved.astype(np.int32 if schema.num_rows * times < 1 << 31 else np.int64)))
    return made


def _id_type(schema: Schema) -> type:
    return np.int32 if schema.num_rows < 1 << 31 else np.int64


class Probe:
    """A packed layer and two rivals with the same schema: ``F.embedding`` and this project's kernel, both on fp32."""

    def __init__(self, layer: PackedLayer) -> None:
        schema = layer.schema
        self.layer = layer
        # Written, so that every page is real memory and not the kernel's page of zeros.
        self.table = torch.empty(schema.num_rows, layer.width).fill_(0.01)
        # In separate memory: the layer moves its rows into huge pages, and F.embedding must keep ordinary ones.
        ours = Dense.pack(schema, range(schema.num_fields), self.table.clone())
        self.fp32 = PackedLayer(schema, layer.width, [ours], layer.unknown)

    @property
    def rows(self) -> int:
        return self.layer.schema.num_rows

    def torch_embedding(self, ids: Tensor) -> Tensor:
        """The usual implementation: one table, ``F.embedding``. An empty slot reads the first row."""
        return F.embedding(ids.clamp(min=0) if self.layer.schema.multivalued else ids, self.table)

    def time(self, name: str, stream: Stream, batches: Sequence[Tensor], seconds: float) -> Timing:
        taken = in_turns(
            {
                "packed": lambda i: self.layer.lookup(batches[i]),
                "torch": lambda i: self.torch_embedding(batches[i]),
                "fp32": lambda i: self.fp32.lookup(batches[i]),
            },
            seconds,
        )
        # Lookups of a pruned field cost nothing but count: the comparison is for the same samples.
        lookups, seen = batches[0].numel(), spread(taken["packed"])
        return Timing(
            name=name,
            rows=self.rows,
            batch=len(batches[0]),
            threads=torch.get_num_threads(),
            stream=stream,
            per_second=lookups / seen.median,
            per_second_low=lookups / seen.high,
            per_second_high=lookups / seen.low,
            ratio_torch=ratio(taken["torch"], taken["packed"]),
            ratio_fp32=ratio(taken["fp32"], taken["packed"]),
        )


@torch.inference_mode()
def measure_speed(model: PackedModel, split: Split, spec: MeasureSpec) -> Speed:
    """Time a packed model on the id stream of ``split`` (the test split) and on a uniform stream.

    Timing is on the CPU, whichever device trained the model: artifacts are loaded there, and results name that
    processor and its kernels. Tables have the data's own size, and rows replicated to ``spec.production_rows``;
    ``spec.threads`` threads are used.

    While other processes keep the machine busy (:attr:`~sharkbench.results.records.Speed.busy`), the timing is
    repeated, up to :data:`TRIES` times in all; the timing with the least disturbance is returned.
    """
    times = -(-spec.production_rows // model.layer.schema.num_rows)
    found: list[Speed] = []
    with threads(spec.threads):
        probe = Probe(model.layer)
        large: Probe | None = None
        while len(found) < TRIES and (not found or found[-1].busy):
            if found:
                print(
                    f"other processes used {found[-1].other_cpu_percent:g}% of a core while this was timed; timing it "
                    f"again ({len(found) + 1} of at most {TRIES})"
                )
            before, own, start = psutil.cpu_times(), psutil.Process().cpu_times(), time.perf_counter()
            speed = _timed_once(model, probe, split, spec, times)
            if times > 1:
                large = large or Probe(model.layer.replicate(times))
                speed = _with_large(speed, model, large, split, spec, times)
            other = _other_cpu(before, own, time.perf_counter() - start)
            found.append(speed.model_copy(update={"other_cpu_percent": other}))
    quietest = min(found, key=lambda speed: speed.other_cpu_percent)
    return quietest.model_copy(update={"tries": len(found)})


def _timed_once(model: PackedModel, probe: Probe, split: Split, spec: MeasureSpec, times: int) -> Speed:
    """Timings at the data's own size."""
    data, uniform = data_stream(split.ids, spec.batch), uniform_stream(model.layer.schema, spec.batch)
    share = spec.seconds / (6 if times > 1 else 3)
    lookups = [probe.time("own size", "data", data, share), probe.time("own size", "uniform", uniform, share)]
    samples, model_ratio = _whole_model(model, probe, split, data, share)
    return Speed(
        hardware=hardware(),
        kernels=kernels_in_use(),
        lookups=lookups,
        model_samples_per_second=samples,
        model_ratio_fp32=model_ratio,
        other_cpu_percent=0.0,
    )


def _with_large(speed: Speed, model: PackedModel, large: Probe, split: Split, spec: MeasureSpec, times: int) -> Speed:
    """``speed`` with the timings of rows replicated ``times``."""
    schema, share = model.layer.schema, spec.seconds / 6
    data = replicated_stream(data_stream(split.ids, spec.batch), schema, times)
    uniform = replicated_stream(uniform_stream(schema, spec.batch), schema, times)
    lookups = [
        large.time("production size", "data", data, share),
        large.time("production size", "uniform", uniform, share),
    ]
    samples, ratio_fp32 = _whole_model(PackedModel(large.layer, model.backbone), large, split, data, share)
    return speed.model_copy(
        update={
            "lookups": [*speed.lookups, *lookups],
            "large_model_samples_per_second": samples,
            "large_model_ratio_fp32": ratio_fp32,
        }
    )


def _whole_model(
    model: PackedModel, probe: Probe, split: Split, batches: Sequence[Tensor], seconds: float
) -> tuple[float, float]:
    """Samples per second of packed layer and backbone, and the ratio to the same backbone with the fp32 table."""
    kept = list(model.layer.fields)
    dense = [split.dense[(torch.arange(len(b)) + i) % len(split.dense)] for i, b in enumerate(batches)]

    def full(i: int) -> Tensor:
        vectors = probe.fp32(batches[i])
        return model.backbone(vectors if len(kept) == vectors.shape[1] else vectors[:, kept], dense[i])

    taken = in_turns({"packed": lambda i: model(batches[i], dense[i]), "fp32": full}, seconds)
    return len(batches[0]) / spread(taken["packed"]).median, ratio(taken["fp32"], taken["packed"])


def _other_cpu(before: object, own: object, seconds: float) -> float:
    """CPU use of other processes since ``before``, in percent of one core."""
    now, mine = psutil.cpu_times(), psutil.Process().cpu_times()
    idle = {"idle", "iowait", "guest", "guest_nice"}
    busy = sum(getattr(now, n) - getattr(before, n) for n in now._fields if n not in idle)
    ours = (mine.user - own.user) + (mine.system - own.system)  # type: ignore[attr-defined]
    return round(max(0.0, 100 * (busy - ours) / max(seconds, 1e-9)), 1)
