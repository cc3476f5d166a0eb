"""Processes for one job each, forked from a server that has imported all heavy modules (see ``forkserver``)."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sharkbench.runner.failures import memory_kills

_ENVIRONMENT = {
    # All libraries except torch use one thread, so that results do not depend on the order of operations.
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    # Count GPUs through the driver without starting CUDA, which would not survive the fork.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
_GRACE_SECONDS = 10.0


@dataclass(eq=False)
class Worker:
    """One process. ``exit_code`` is ``None`` while it is alive, and negative if a signal ended it."""

    number: int
    began: float | None = None
    """Time of the fork, by the monotonic clock; ``None`` while the server is still importing."""
    exit_code: int | None = None
    memory_ran_out: bool = False
    """Whether the kernel of its machine killed a process for lack of memory while it was alive."""
    lost: str | None = None
    """Reason why its executor does not know how it ended; ``exit_code`` is that of SIGKILL then."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Events that it has sent and that have not been taken."""
    kills_before: int = field(default_factory=memory_kills)
    pipe: int = -1
    rest: bytes = b""

    def take_events(self) -> list[dict[str, Any]]:
        """Events sent since the last call."""
        events, self.events = self.events, []
        return events


class Processes:
    """Starts, watches and ends workers. All of them end when this object is closed or its process dies.

    Args:
        preload: modules that the server imports before it forks.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self.preload = tuple(preload)
        self.workers: dict[int, Worker] = {}
        self._started = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._said: Any = None
        self._selector = selectors.DefaultSelector()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self) -> None:
        """Start the server; it imports in the background."""
        if self._channel is None:
            self._start_server()

    def start(self, call: str, arguments: Mapping[str, Any], log: Path) -> Worker:
        """Start ``call`` (``module:function``, called with ``send`` and ``arguments``) in a process of its own.

        Args:
            arguments: plain JSON values.
            log: file to which the output of the process is appended.
        """
        channel = self._channel or self._start_server()
        self._started += 1
        worker = Worker(self._started)
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            with log.open("ab") as file:
                order = {"id": worker.number, "call": call, "arguments": dict(arguments)}
                socket.send_fds(channel, [json.dumps(order).encode()], [file.fileno(), writer])
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        worker.pipe = reader
        self.workers[worker.number] = worker
        self._selector.register(reader, selectors.EVENT_READ, worker)
        return worker

    def wait(self, seconds: float | None) -> list[Worker]:
        """Workers that have sent something or ended; returns as soon as there is one, or after ``seconds``.

        Raises:
            RuntimeError: the server has failed. If a signal ended it, only its workers are lost, without this error.
        """
        touched: dict[int, Worker] = {}
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Worker):
                self._read(key.data)
                touched[key.data.number] = key.data
            else:
                for worker in self._listen():
                    touched[worker.number] = worker
        for worker in touched.values():
            if worker.exit_code is not None:
                self._read(worker)
                self._forget(worker)
        return list(touched.values())

    def kill(self, worker: Worker, number: int = signal.SIGKILL) -> None:
        """Send a signal to the worker and to every process that it has started."""
        if self._channel is not None and worker.number in self.workers:
            with contextlib.suppress(OSError):
                self._channel.send(json.dumps({"kill": worker.number, "signal": int(number)}).encode())

    def alone(self) -> Self:
        """This executor: on one machine, nothing else runs as long as nothing else is started."""
        return self

    def close(self) -> None:
        """End every worker and the server, for good."""
        if self._closed:
            return
        self._closed = True
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None
        if self._server is not None:
            try:
                self._server.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
            self._said.close()
        for worker in list(self.workers.values()):
            self._forget(worker)
        self._selector.close()

    def _start_server(self) -> socket.socket:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-P", "-m", "sharkbench.runner.forkserver", str(its.fileno()), str(os.getpid())]
        # A session of its own, so that Ctrl-C reaches only the process that handles it.
        self._server = subprocess.Popen(
            [*command, *self.preload],
            pass_fds=[its.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        its.close()
        self._channel = mine
        self._selector.register(mine, selectors.EVENT_READ)
        return mine

    def _listen(self) -> list[Worker]:
        assert self._channel is not None
        try:
            packet = self._channel.recv(1 << 16)
        except ConnectionResetError:
            packet = b""
        if not packet:
            return self._server_died()
        told = json.loads(packet)
        worker = self.workers[told["id"]]
        worker.began = worker.began or time.monotonic()
        if "exit" in told:
            _end(worker, told["exit"])
        return [worker]

    def _server_died(self) -> list[Worker]:
        """The workers that ended with the server; the next start creates a new server."""
        assert self._server is not None
        self._server.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        lost = list(self.workers.values())
        if self._server.returncode > 0:
            raise RuntimeError(f"the process that starts the runs could not start:\n{said}")
        for worker in lost:
            _end(worker, -int(signal.SIGKILL))
        assert self._channel is not None
        self._selector.unregister(self._channel)
        self._channel.close()
        self._said.close()
        self._channel = self._server = None
        return lost

    def _read(self, worker: Worker) -> None:
        while worker.pipe >= 0:
            try:
                block = os.read(worker.pipe, 1 << 16)
            except BlockingIOError:
                return
            if not block:
                self._selector.unregister(worker.pipe)
                os.close(worker.pipe)
                worker.pipe = -1
            *lines, worker.rest = (worker.rest + block).split(b"\n")
            worker.events += [json.loads(line) for line in lines]

    def _forget(self, worker: Worker) -> None:
        self.workers.pop(worker.number, None)
        if worker.pipe >= 0:
            self._selector.unregister(worker.pipe)
            os.close(worker.pipe)
            worker.pipe = -1


def _end(worker: Worker, code: int) -> None:
    worker.exit_code, worker.memory_ran_out = code, memory_kills() > worker.kills_before
