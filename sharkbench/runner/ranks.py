"""The other processes of a run that trains over several (``train.processes``).

Each executes the same steps as the first, from the data to the compressed model, and writes nothing. They get the
environment variables of ``torchrun``; the first process hosts their rendezvous store, on a port that it holds from the
start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch.distributed as dist
from torch.distributed import TCPStore

from sharkbench.errors import SharkbenchError
from sharkbench.runner.cell import bench_for, make, open_dataset, settle
from sharkbench.suite.run import RunSpec
from sharkbench.training.group import Group

_NOTICE_SECONDS = 2.0
"""Seconds between a broken connection and the exit of the process at its other end being visible."""
_HOST = "127.0.0.1"
_READY = "process {} is ready"


@contextmanager
def other_ranks(spec: RunSpec, *, shared: Path, cache_dir: Path | None) -> Iterator[None]:
    """Context in which the other processes of this run are running; does nothing for a run with one process.

    Raises:
        RuntimeError: another process has ended early.
    """
    size = spec.train.processes
    if size == 1:
        yield
        return
    store = TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)
    common = {
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "GROUP_RANK": 0,
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": store.port,
        # As torchrun sets it: the store exists already.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": 0,
    }
    order = json.dumps(
        {
            "spec": spec.model_dump(mode="json"),
            "shared": str(shared),
            "cache_dir": str(cache_dir) if cache_dir is not None else None,
        }
    )
    others: dict[int, subprocess.Popen[str]] = {}
    try:
        for rank in range(1, size):
            others[rank] = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                env={**os.environ, **_told(common, rank)},
                text=True,
            )
            pipe = others[rank].stdin
            assert pipe is not None
            with suppress(BrokenPipeError):  # it has died already, which is detected below
                pipe.write(order)
                pipe.close()
        os.environ.update(_told(common, 0))
        _wait_for(others, store)
        Group.join(size)
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            _name_the_cause(others, error)
        raise
    finally:
        for name in _told(common, 0):
            os.environ.pop(name, None)
        for other in others.values():
            other.kill()
            other.wait()
        if dist.is_initialized():
            dist.destroy_process_group()


def _wait_for(others: Mapping[int, subprocess.Popen[str]], store: TCPStore) -> None:
    """Wait until all other processes are about to join; a later death breaks the connection."""
    for rank, other in others.items():
        while not store.check([_READY.format(rank)]):
            if (code := other.poll()) is not None:
                raise _ended(rank, code)
            time.sleep(0.05)


def _name_the_cause(others: Mapping[int, subprocess.Popen[str]], error: RuntimeError) -> None:
    """Raise an error that names the dead process behind a broken connection."""
    deadline = time.monotonic() + _NOTICE_SECONDS
    while time.monotonic() < deadline:
        for rank, other in others.items():
            if code := other.poll():
                raise _ended(rank, code) from error
        time.sleep(0.05)


def _ended(rank: int, code: int) -> RuntimeError:
    return RuntimeError(f"process {rank} of the run has ended with {code}; the run's log has its own message")


def _told(common: dict[str, object], rank: int) -> dict[str, str]:
    return {name: str(value) for name, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}


def main() -> None:
    """``python -m sharkbench.runner.ranks``, with its order on standard input."""
    order = json.load(sys.stdin)
    spec = RunSpec.model_validate(order["spec"])
    settle(spec)
    cache_dir = Path(order["cache_dir"]) if order["cache_dir"] is not None else None
    bench = bench_for(spec, open_dataset(spec, cache_dir), Path(order["shared"]))
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    store.set(_READY.format(os.environ["RANK"]), "")
    Group.join(spec.train.processes)
    try:
        make(spec, bench)
    except SharkbenchError:
        sys.exit(1)  # the first process raises the same error, and reports it


if __name__ == "__main__":
    main()
