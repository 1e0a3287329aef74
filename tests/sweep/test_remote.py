"""A sweep on a cluster: what its workers make is what this machine makes, and travels by content."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import edgecvx
from edgecvx.data.calibration import open_calibration
from edgecvx.sweep import remote
from edgecvx.sweep import run as running
from edgecvx.sweep.execute import Child, tasks_of
from edgecvx.sweep.job import Job
from edgecvx.sweep.machines import is_among, is_here
from edgecvx.sweep.work import Done, Outcome, Task, Tell, carry_out

if TYPE_CHECKING:
    from distributed import Client

Write = Callable[..., Path]


def here(
    kind: str, tasks: Sequence[Task], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
) -> Iterator[Outcome]:
    """This process in place of a child: it has everything imported."""
    yield from carry_out(kind, tasks, inputs, folder, tell)


class Here(Child):
    def carry_out(
        self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        yield from here(jobs[0].kind, tasks_of(jobs), inputs, folder, tell, stop)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A scheduler and a worker, in this process: what is under test here is what is asked of them."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(remote, "in_child", here)
    how: dict[str, Any] = {
        "processes": False,
        "host": "127.0.0.1",
        "protocol": "tcp://",
        "dashboard_address": None,
        "memory_limit": 0,
    }
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, resources={"board:kitchen": 1}, worker_dashboard_address=None, **how
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


def files(out: Path) -> dict[str, bytes]:
    """Everything a sweep made for its user."""
    found = {str(p.relative_to(out)): p.read_bytes() for p in (out / "files").rglob("*") if p.is_file()}
    return {**found, "sweep.json": (out / "sweep.json").read_bytes()}


def test_files_of_a_cluster_are_those_of_one_machine(
    client: Client, recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint, the labels and the calibration pictures reach workers by their content."""
    monkeypatch.setattr(running, "Child", Here)
    path = recipe(("samples = 4", 'samples = 4\npictures = "birds"'))
    (path.parent / "birds").mkdir()
    generator = np.random.default_rng(0)
    for index in range(9):
        picture = Image.fromarray(generator.integers(0, 255, (80, 80, 3), np.uint8))
        picture.save(path.parent / "birds" / f"{index}.png")
    seen: list[str] = []
    edgecvx.sweep(path, out=tmp_path / "one")
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "another cache"))  # no row is known
    edgecvx.sweep(path, out=tmp_path / "many", cluster=client, on_progress=lambda at: seen.extend(at.workers.values()))
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert len(files(tmp_path / "one")) == 5
    assert (tmp_path / "many" / "report.html").read_bytes() == (tmp_path / "one" / "report.html").read_bytes()
    assert any("export mine-64" in doing for doing in seen)


def test_the_pictures_that_are_sent_are_those_that_are_taken(tmp_path: Path) -> None:
    whole = tmp_path / "birds"
    for index in range(12):
        place = whole / f"class {index % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (index, 0, 0)).save(place / f"{index}.png")
    sent = remote._chosen(whole, 5, tmp_path / "staged")
    assert sent.name == "birds"
    assert len([p for p in sent.rglob("*") if p.is_file()]) == 5
    taken = [s.sha256 for s in open_calibration(whole, samples=5).samples]
    assert [s.sha256 for s in open_calibration(sent, samples=5).samples] == taken


def test_a_board_is_timed_by_the_worker_that_reaches_it(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def timed(kind: str, tasks: Sequence[Task], inputs: Any, folder: Path, *_: object) -> Iterator[Outcome]:
        asked.append((kind, tasks[0].name, threading.current_thread().name))
        (folder / tasks[0].key).mkdir()
        (folder / tasks[0].key / "benchmark.json").write_text("{}")
        yield Done(key=tasks[0].key, main="benchmark.json", seconds=1)

    monkeypatch.setattr(remote, "in_child", timed)
    monkeypatch.setattr("edgecvx.sweep.execute.in_child", timed)
    for lane in ("kitchen", "garden"):
        job = Job(kind="bench", name=f"x on {lane}", depends={}, call={}, together=lane, lane=lane, scale={})
        with remote.on_cluster(client) as (hands, _):
            folder = tmp_path / lane
            folder.mkdir()
            (outcome,) = hands.device(job, {}, folder, lambda *_: None, threading.Event())
            assert isinstance(outcome, Done)
            assert (folder / job.key / "benchmark.json").read_text() == "{}"
    assert [name for _, name, _ in asked] == ["x on kitchen", "x on garden"]
    assert "Dask" in asked[0][2] or "Worker" in asked[0][2]
    assert asked[1][2] == threading.current_thread().name  # nobody said to reach it: it is timed from here


def test_which_devices_are_machines_that_compute() -> None:
    assert is_here("local")
    assert is_here("ssh://anna@localhost:2222")
    assert is_here("ssh://127.0.0.1")
    assert not is_here("ssh://pi@192.0.2.1")
    assert not is_here("adb://ABC")
    assert is_among("ssh://pi@192.0.2.1", ["192.0.2.1"])
    assert not is_among("ssh://pi@192.0.2.1", ["192.0.2.2"])
