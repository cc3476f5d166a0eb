"""Runs on a Ray cluster of two nodes: what a lost node costs, and that results are those of local runs, to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from sharkbench.errors import InputError
from sharkbench.results.store import LOG, RESULT, SPEC, SPEED, Store
from sharkbench.runner import Summary, run_suite, schedule
from sharkbench.runner.events import EpochEnded, Event, MeasureEnded, MeasureStarted, Message, RunEnded, RunStarted
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from tests.runner.conftest import Bench

ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'sharkbench[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture
def on_ray(bench: Bench, cluster: Cluster) -> Bench:
    """Its plans go to the cluster, with one more try for what is lost."""
    bench.executor = {"name": "ray", "address": cluster.address, "retries": 1}
    return bench


def test_every_way_to_end_is_stored_as_if_it_had_run_here_and_lookups_are_timed_last(on_ray: Bench) -> None:
    ways = {
        "raises": ("method", "ValueError: of no use"),
        "crashes": ("method", "crashed in native code (SIGSEGV); see log.txt"),
        "is killed": ("killed", "the process was ended from outside (SIGKILL)"),
    }
    summary = on_ray.run("fine", "infeasible", *ways, jobs=9, lookup=True)
    assert summary == Summary(done=1, infeasible=1, failed=3)
    results = {result.method_label: result for result in on_ray.store.results()}
    assert {way: (results[way].kind, results[way].reason) for way in ways} == ways
    began = Counter(line.split()[0] for line in on_ray.diary("began"))
    assert {way: began[results[way].key] for way in ways} == {"raises": 1, "crashes": 1, "is killed": 2}
    assert ["done again (1 of 1 times)" in event.text for event in on_ray.events if isinstance(event, Message)] == [
        True
    ]

    fine = on_ray.store.directory(results["fine"].key)
    assert sorted(file.name for file in fine.iterdir()) == [LOG, "packed.safetensors", RESULT, SPEC, SPEED]
    assert "log of fine" in (fine / LOG).read_text()
    assert (on_ray.out / "diary.txt").read_text().splitlines()[-1] == f"measured {results['fine'].key}"
    told = Counter(type(event) for event in on_ray.events)
    assert (told[RunStarted], told[EpochEnded], told[RunEnded], told[MeasureEnded]) == (6, 6, 5, 1)


def test_a_timeout_ends_a_run_and_all_that_it_has_started(on_ray: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(ahead=0.0, sleep=time.sleep)
    clock.monotonic = lambda: time.monotonic() + clock.ahead
    monkeypatch.setattr(schedule, "time", clock)

    def let_time_pass(event: Event) -> None:
        if isinstance(event, EpochEnded):
            while not on_ray.diary("children"):
                time.sleep(0.1)
            clock.ahead = 3600.0  # a busy machine may take long to get there

    assert on_ray.run("hangs with children", timeout=3600.0, on_event=let_time_pass) == Summary(failed=1)
    [hung] = on_ray.store.results()
    assert (hung.kind, hung.reason) == ("timeout", "stopped after its timeout of 3600 s; see log.txt")
    assert "log of hangs with children" in (on_ray.store.directory(hung.key) / LOG).read_text()
    [children] = on_ray.diary("children")
    assert not psutil.wait_procs([psutil.Process(int(p)) for p in children.split() if psutil.pid_exists(int(p))], 30)[1]


def test_a_node_that_dies_costs_its_run_one_more_try(on_ray: Bench, cluster: Cluster) -> None:
    third = cluster.add_node(**NODE, resources={"doomed": 1})
    cluster.wait_for_nodes()
    killed: list[bool] = []

    def kill_the_node_when_all_are_at_work(event: Event) -> None:
        on_ray.events.append(event)
        if isinstance(event, EpochEnded) and len(on_ray.diary("began")) == 3 and not killed:
            killed.append(True)
            cluster.remove_node(third, allow_graceful=False)
        if isinstance(event, Message):
            (on_ray.out / "go").touch()

    summary = on_ray.run(
        "waits to go", "waits to go", "waits to go", jobs=3, on_event=kill_the_node_when_all_are_at_work
    )
    assert killed
    assert summary == Summary(done=3)
    began = [line.split()[0] for line in on_ray.diary("began")]
    assert len(began) == 4
    assert len(set(began)) == 3
    [message] = [event.text for event in on_ray.events if isinstance(event, Message)]
    assert "Ray has lost its worker or node" in message
    assert not list(on_ray.store.runs.glob(".tmp*"))


def test_a_driver_that_is_killed_comes_back_to_what_was_done(on_ray: Bench, cluster: Cluster, tmp_path: Path) -> None:
    ways = ("fine", "waits to go")
    command = [sys.executable, "-m", "tests.runner.faked_run", str(on_ray.out.parent), "2", *ways]
    driver = subprocess.Popen(
        command, env={**os.environ, "FAKED_RAY": cluster.address}, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    while driver.stdout.readline().strip() not in ("RunEnded", ""):
        pass
    late = time.monotonic() + 60
    while len(on_ray.diary("began")) < 2 and time.monotonic() < late:
        time.sleep(0.1)
    [waiting] = [line for line in on_ray.diary("began") if line.split()[0] not in on_ray.diary("ended")]
    driver.kill()
    driver.wait()
    run = psutil.Process(int(waiting.split()[1])) if psutil.pid_exists(int(waiting.split()[1])) else None
    assert run is None or not psutil.wait_procs([run], 60)[1], "the cluster ends what a dead driver has started"
    assert [result.method_label for result in on_ray.store.results()] == ["fine"]

    (on_ray.out / "go").touch()
    assert on_ray.run(*ways, jobs=2) == Summary(done=2, cached=1)
    assert sorted(line.split()[0] for line in on_ray.diary("began")) == sorted(
        [*on_ray.diary("ended"), waiting.split()[0]]
    )
    undisturbed = Bench(tmp_path / "undisturbed")
    undisturbed.out.mkdir(parents=True)
    (undisturbed.out / "go").touch()
    assert undisturbed.run(*ways) == Summary(done=2)
    assert on_ray.store.results() == undisturbed.store.results()


@pytest.fixture
def on_gpu(on_ray: Bench, cluster: Cluster) -> Iterator[Bench]:
    """Its runs want half a GPU and other things that only a third node has."""
    node = cluster.add_node(**{**NODE, "num_cpus": 3}, num_gpus=1, memory=4 * 2**30, resources={"large_disk": 3})
    cluster.wait_for_nodes()
    wanted = {"num_cpus": 0.5, "num_gpus": 0.5, "memory": "1GiB", "resources": {"large_disk": 1}}
    on_ray.executor = {"name": "ray", "address": cluster.address, **wanted}
    yield on_ray
    cluster.remove_node(node)


def test_a_run_gets_what_the_suite_says_of_gpus_memory_and_custom_resources(on_gpu: Bench) -> None:
    taken: dict[str, float] = {}

    def look(event: Event) -> None:
        if isinstance(event, EpochEnded) and len(on_gpu.diary("began")) == 2 and not taken:
            wanted = {"CPU": 1.0, "GPU": 1.0, "memory": 2.0 * 2**30, "large_disk": 2.0}
            late = time.monotonic() + 30
            while taken != wanted and time.monotonic() < late:
                all_, free = ray.cluster_resources(), ray.available_resources()
                taken.update({name: all_[name] - free.get(name, 0.0) for name in wanted})
            assert taken == wanted
            for line in on_gpu.diary("began"):
                assert psutil.Process(int(line.split()[1])).environ()["CUDA_VISIBLE_DEVICES"] == "0"
            assert len(on_gpu.diary("began")) == 2  # the GPU has no room for the third
            (on_gpu.out / "go").touch()

    assert on_gpu.run(*["waits to go"] * 3, jobs=3, on_event=look) == Summary(done=3)
    assert taken


def test_while_lookups_are_timed_the_node_has_room_for_nothing_else(on_gpu: Bench) -> None:
    began: list[float] = []

    def compete() -> None:
        while not on_gpu.diary("measured"):
            time.sleep(0.1)
        try:
            rival = ray.remote(num_cpus=0.5, resources={"large_disk": 1})(lambda: time.time()).remote()
            ray.wait([rival], timeout=2.0)  # it would have begun by then
        finally:
            (on_gpu.out / "go").touch()
        began.append(ray.get(rival))

    rival = threading.Thread(target=compete)

    def watch(event: Event) -> None:
        if isinstance(event, MeasureStarted):
            rival.start()
        if isinstance(event, MeasureEnded):
            rival.join()

    assert on_gpu.run("is timed until it may go", lookup=True, on_event=watch) == Summary(done=1)
    assert began[0] > (on_gpu.out / "go").stat().st_mtime


SUITE: dict[str, Any] = {
    "name": "small",
    "datasets": [{"source": "synthetic", "rows": 1000, "cardinalities": [200, 50]}],
    "backbones": ["dnn"],
    "dimension": 4,
    "methods": ["full", "hash"],
    "budgets": [0.3],
    "train": {"epochs": 1, "batch_size": 256},
    "measure": {"lookup": False},
    "tracking": {"enabled": False},
}


def test_results_are_those_of_local_runs_to_the_bit(tmp_path: Path, cluster: Cluster) -> None:
    stores = []
    for executor in ("local", {"name": "ray", "address": cluster.address}):
        suite = load({**SUITE, "executor": executor})
        out = tmp_path / str(len(stores))
        summary = run_suite(suite, plan(suite, cache_dir=tmp_path / "cache"), out, cache_dir=tmp_path / "cache")
        assert summary == Summary(done=2)
        stores.append(Store(out))
    here, there = stores
    timed = {"started", "seconds", "training", "history"}
    keys = here.keys()
    assert keys == there.keys()
    for key in keys:
        one, other = here.get(key), there.get(key)
        assert one is not None
        assert other is not None
        assert one.model_dump(exclude=timed) == other.model_dump(exclude=timed)
        losses = [[(epoch.train_loss, epoch.valid) for epoch in result.history] for result in (one, other)]
        assert losses[0] == losses[1]
        for file in ("packed.safetensors", "backbone.safetensors"):
            assert (here.directory(key) / file).read_bytes() == (there.directory(key) / file).read_bytes()


def test_a_cluster_that_is_not_there_is_told_in_one_line(bench: Bench) -> None:
    bench.executor = {"name": "ray", "address": "127.0.0.1:1"}
    with pytest.raises(InputError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        bench.run("fine")
