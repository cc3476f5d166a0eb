"""Entry points of the process of a run; its results are written to the run's directory."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sharkbench.files.digests import MadeAgain
from sharkbench.files.durable import write_text
from sharkbench.results.store import RESULT, SPEC
from sharkbench.runner.failures import is_storage_error, kind_of, one_line
from sharkbench.runner.outcome import failed
from sharkbench.suite.run import RunSpec, compiled_kernels, present_code

Send = Callable[[dict[str, Any]], None]


def run(*, send: Send, directory: str, shared: str, cache_dir: str | None, invocation: str, execute: str) -> None:
    """Execute the run whose ``spec.json`` is in ``directory``; always writes ``result.json`` there, even on errors.

    Sends ``{"epoch": ...}`` after each epoch, ``{"message": line}`` if a damaged file is created again, and
    ``{"storage": reason}`` if nothing can be written any more.

    Args:
        execute: ``module:function``, called like :func:`sharkbench.runner.execute.execute`.
    """
    place = Path(directory)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    try:
        spec = RunSpec.model_validate_json((place / SPEC).read_bytes())
        _print(
            f"{started} {spec.dataset.name} {spec.backbone.name} {spec.method_label} {spec.budget or ''} {spec.seed}"
        )
        try:
            with _telling(send):
                result = _function(execute)(
                    spec,
                    place,
                    shared=Path(shared),
                    invocation=invocation,
                    cache_dir=Path(cache_dir) if cache_dir else None,
                    on_epoch=lambda epoch: send({"epoch": epoch.model_dump(mode="json")}),
                )
        except Exception as error:
            if is_storage_error(error):
                raise
            traceback.print_exc()
            seconds = time.monotonic() - clock
            result = failed(spec, kind_of(error), one_line(error), started=started, seconds=seconds)
        write_text(place / RESULT, result.model_dump_json(indent=1))
        _print(f"{result.status} after {result.seconds:.1f} s{f': {result.reason}' if result.reason else ''}")
    except Exception as error:
        if not is_storage_error(error):
            raise
        send({"storage": one_line(error)})


def measure(*, send: Send, directory: str, cache_dir: str | None, measure: str) -> None:
    """Time the finished run in ``directory``; sends ``{"speed": ...}`` or ``{"reason": ...}``, and messages.

    Args:
        measure: ``module:function``, called like :func:`sharkbench.runner.execute.measure`.
    """
    place = Path(directory)
    try:
        spec = RunSpec.model_validate_json((place / SPEC).read_bytes())
        by = {"code": spec.timed_by(present_code()), "compiled": compiled_kernels()}
        with _telling(send):
            speed = _function(measure)(spec, place, cache_dir=Path(cache_dir) if cache_dir else None)
    except Exception as error:
        traceback.print_exc()
        send({"reason": one_line(error)})
    else:
        send({"speed": speed.model_copy(update=by).model_dump(mode="json")})


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


@contextmanager
def _telling(send: Send) -> Iterator[None]:
    """Write warnings to the log, and send those about damaged files as messages too."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_and_tell(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, MadeAgain):
                send({"message": str(message)})
            show(message, category, *rest, **more)

        warnings.showwarning = show_and_tell
        yield


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
