"""The process that forks the process of each run. It has imported all heavy modules, so a run starts in milliseconds.

Started as a program by :mod:`sharkbench.runner.processes`, which sends one JSON packet per order over a Unix socket:

    {"id": 1, "call": "module:function", "arguments": {...}}   start it; two descriptors come along: log, event pipe
    {"kill": 1, "signal": 9}                                   send a signal to it and to all that it has started

and gets ``{"id": 1, "pid": 123}`` and ``{"id": 1, "exit": 0}`` back (negative: ended by that signal). When the socket
closes, by intent or because the other side was killed, everything ends.

Nothing here may start a thread or touch a GPU before a fork: neither would exist in the child.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """``python -m sharkbench.runner.forkserver SOCKET PARENT MODULE...``"""
    descriptor, parent, *preload = sys.argv[1:]
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        return
    # Orphaned children of a run's process become children of this one, and are ended here.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    channel = socket.socket(fileno=int(descriptor))
    gc.disable()  # imports create no garbage
    for module in preload:
        importlib.import_module(module)
    gc.freeze()  # run processes do not scan these objects either, so their pages stay shared
    gc.enable()
    _Server(channel).serve()
    os._exit(0)  # a normal exit would take seconds to tear down all imports


class _Server:
    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.pids: dict[int, int] = {}  # by id, of processes that have not been waited for
        self.wake, wake_end = socket.socketpair()
        for end in (self.wake, wake_end):
            end.setblocking(False)
        self.wake_end = wake_end

    def serve(self) -> None:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the byte in the wake-up socket does the work
        signal.set_wakeup_fd(self.wake_end.fileno(), warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self.channel, selectors.EVENT_READ)
        selector.register(self.wake, selectors.EVENT_READ)
        try:
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self.wake in ready:
                    if signal.SIGTERM in self.wake.recv(4096):
                        break
                    self.reap()
                if self.channel in ready and not self.obey():
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    def obey(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self.channel, 1 << 16, 2)
        if not packet:
            return False
        order = json.loads(packet)
        if "kill" in order:
            if pid := self.pids.get(order["kill"]):
                _signal_group(pid, order["signal"])
            return True
        log, events = descriptors
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.channel.close()
            _become_worker(server, order, log, events)
        os.close(log)
        os.close(events)
        self.pids[order["id"]] = pid
        self.tell({"id": order["id"], "pid": pid})
        return True

    def reap(self) -> None:
        ids = {pid: number for number, pid in self.pids.items()}
        while True:
            try:
                # Not reaped yet: until then no other process can get its process group's ID.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid not in ids:
                os.waitpid(pid, 0)
                continue
            _signal_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            del self.pids[ids[pid]]
            self.end_orphans()
            self.tell({"id": ids[pid], "exit": os.waitstatus_to_exitcode(status)})

    def end_orphans(self) -> None:
        known = set(self.pids.values())
        for child in psutil.Process().children():
            if child.pid not in known:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    def tell(self, packet: dict[str, Any]) -> None:
        self.channel.send(json.dumps(packet).encode())


def _become_worker(server: int, order: dict[str, Any], log: int, events: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # If memory runs out, the kernel should kill a run and not this server.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(nothing)
        os.close(log)
        os.set_inheritable(events, False)
        faulthandler.enable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        module, _, function = order["call"].partition(":")
        with open(events, "w", buffering=1, encoding="utf-8") as pipe:
            getattr(importlib.import_module(module), function)(
                send=lambda event: pipe.write(json.dumps(event) + "\n"), **order["arguments"]
            )
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the child must not clean up what the server has opened and registered.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _signal_group(pid: int, number: int) -> None:
    # A newly forked process may not lead its group yet.
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            send(pid, number)
            return


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
