"""Where a search measures: several devices, numbers of threads, pictures on a cluster; all planted but the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scripted
from small_search import ASKED, Searched, bench, files_of, labels_of, plant

import edgecvx
from edgecvx.latency.bench import benchmark
from edgecvx.results.latency import Benchmark
from edgecvx.tune.field import Field
from edgecvx.tune.race.measured import Timing
from edgecvx.tune.report.values import DeviceResult, Tuned

if TYPE_CHECKING:
    from small_classifier import Exported

    from edgecvx.cluster.handle import Cluster

Times = Mapping[str, Mapping[str, float]]
"""Device -> precision -> milliseconds."""
WORST: Times = {"local": {"fp32": 4.0, "int8": 1.0}, "ssh://board": {"fp32": 5.0, "int8": 9.0}}
"""On one INT8 is four times as fast, on the other FP32 nearly twice."""


def devices(times: Times, patch: pytest.MonkeyPatch, speedup: float = 1.0) -> None:
    """Devices whose times are those, a file with more threads by so much faster; everything else is as it is."""

    def planted(
        paths: Sequence[Path], *, devices: Sequence[str], threads: Sequence[int | None], **options: Any
    ) -> Benchmark:
        requests = [(path, n) for path in paths for n in threads]

        def device(name: str, number: int) -> scripted.ScriptedDevice:
            def latency(artifact: str, round_: int, run: int) -> int:
                path, count = requests[int(artifact[1:])]
                ms = next((ms for p, ms in times[name].items() if path.stem.endswith(f"-{p}")), 20.0)
                return int(1e6 * ms * speedup ** ((count or 1) - 1)) + 100 * ((7 * round_ + 3 * run + number) % 11)

            return scripted.ScriptedDevice(name, latency)

        made = [device(name, number) for number, name in enumerate(devices)]
        return benchmark(paths, devices=made, threads=threads, **options)

    patch.setattr(edgecvx, "benchmark", planted, raising=False)


def search(small: Exported, searched: Searched, out: Path, **options: Any) -> Tuned:
    asked: dict[str, Any] = {**ASKED, "sizes": (64,), "labels": labels_of(searched), **options}
    return edgecvx.tune(small.checkpoint, out=files_of(searched, out, answered=True), **asked)


def shipped(device: DeviceResult) -> tuple[str, float]:
    """The precision of the winner, and its time."""
    (row,) = [r for r in device.rows if r.state == "ship"]
    assert row.ms is not None
    return row.precision, row.ms


@pytest.fixture
def cache(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pictures were answered in the first search is known; its planted times are not used."""
    original = Field.bench
    plant(monkeypatch, searched[1].parent / "cache")
    monkeypatch.setattr(Field, "bench", original)


@pytest.mark.usefixtures("cache")
def test_each_device_has_a_winner_of_its_own_and_one_file_for_both_is_the_one_whose_worst_is_least(
    small_classifier: Exported, searched: Searched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    devices(WORST, monkeypatch)
    own = search(small_classifier, searched, tmp_path / "own", devices=tuple(WORST))
    assert {d.device: shipped(d)[0] for d in own.devices} == {"local": "int8", "ssh://board": "fp32"}
    one = search(small_classifier, searched, tmp_path / "one", devices=tuple(WORST), one_file=True)
    ((precision, ms),) = map(shipped, one.devices)
    assert one.devices[0].device == "local and ssh://board"
    assert precision == "fp32" and ms == pytest.approx(5.0, rel=0.01)
    assert (tmp_path / "one" / "ship").is_dir() and len(list((tmp_path / "own" / "ship").iterdir())) == 2


@pytest.mark.usefixtures("cache")
def test_a_second_device_that_is_never_the_slower_one_changes_nothing(
    small_classifier: Exported, searched: Searched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The twin: it is the slowest that counts, and not the last that was named, nor the mean."""
    devices({"local": WORST["local"], "ssh://board": {"fp32": 0.5, "int8": 0.9}}, monkeypatch)
    one = search(small_classifier, searched, tmp_path / "one", devices=tuple(WORST), one_file=True)
    precision, ms = shipped(one.devices[0])
    assert precision == "int8" and ms == pytest.approx(1.0, rel=0.01)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("speedup", "wins"), [(0.6, 2), (1.5, 1)])
def test_numbers_of_threads_compete_as_files_do(
    speedup: float,
    wins: int,
    small_classifier: Exported,
    searched: Searched,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    devices(WORST, monkeypatch, speedup)
    (device,) = search(small_classifier, searched, tmp_path / "out", threads=(1, 2)).devices
    (row,) = [r for r in device.rows if r.state == "ship"]
    assert (row.precision, row.threads) == ("int8", wins)
    assert {r.threads for r in device.rows} == {1, 2}


def test_targets_with_threads_of_their_own_are_timed_beside_those_without(
    small_classifier: Exported, searched: Searched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file with a recommended number of threads raced beside one that leaves it to the runtime, and had no times."""
    asked = list[Any]()

    def heard(paths: Sequence[Path], *, threads: Sequence[int | None], **options: Any) -> Benchmark:
        asked.append(threads)
        return benchmark(paths, threads=threads, **{**options, "devices": [scripted.ScriptedDevice("local")]})

    monkeypatch.setattr(edgecvx, "benchmark", heard, raising=False)
    from edgecvx.spec import Precision
    from edgecvx.tune.space import Candidate

    found = Field(workshop=_Files(small_classifier.path), pictures=_Pictures(), devices=("local",))  # type: ignore[arg-type]
    for name, threads in (("left", None), ("told", 3)):
        found.candidates[name] = Candidate(
            model="mine", size=64, target="onnx", precision=Precision.FP32, threads=threads
        )
    found.workshop.work = tmp_path  # type: ignore[misc]
    timings = found.bench(["left", "told"], 4)
    assert asked == [(None, 3)]
    assert all(t.error is None and len(t.rounds) == 4 for t in timings.values())


class _Files:
    """One file, whatever is asked for."""

    def __init__(self, path: Path) -> None:
        from edgecvx.files import read_artifact
        from edgecvx.tune.race.limits import Limits
        from edgecvx.tune.workshop import File

        found, manifest = read_artifact(path)
        self._file = File(path=found, manifest=manifest, seconds=0.0)
        self.request = type("Request", (), {"limits": Limits()})
        self.work = path.parent

    def file(self, candidate: object) -> object:
        return self._file


class _Pictures:
    machine = "here"


# A cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    from edgecvx.cluster.connect import connect

    with connect("local:2") as workers:
        yield workers


def test_pictures_on_a_cluster_give_the_same_answer_and_it_rests_while_files_are_timed(
    cluster: Cluster, small_classifier: Exported, searched: Searched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(monkeypatch, tmp_path / "cache")
    busy, where = list[object](), list[object]()

    def watched(self: Field, names: Sequence[str], rounds: int) -> Mapping[str, Timing]:
        busy.extend(task for tasks in cluster.client.processing().values() for task in tasks)
        return bench(self, names, rounds)

    def heard(*paths: Any, **options: Any) -> Any:
        from edgecvx.accuracy.validate import validate

        where.append(options["cluster"])
        return validate(*paths, **options)

    monkeypatch.setattr(Field, "bench", watched)
    monkeypatch.setattr(edgecvx, "validate", heard, raising=False)
    here = edgecvx.tune(small_classifier.checkpoint, **ASKED, labels=labels_of(searched), out=searched[1])
    assert not where, "the first search left nothing to validate"
    out = files_of(searched, tmp_path / "out", answered=False)
    there = edgecvx.tune(small_classifier.checkpoint, **ASKED, labels=labels_of(searched), out=out, cluster=cluster)
    assert where and all(handle is cluster for handle in where)
    assert there.devices == here.devices
    assert not busy


def test_a_cluster_that_works_is_seen_to(cluster: Cluster) -> None:
    """The twin: what the test above looks at is not empty by itself."""
    import time

    task = cluster.client.submit(time.sleep, 0.5, pure=False)
    deadline = time.monotonic() + 30
    while not (seen := [t for tasks in cluster.client.processing().values() for t in tasks]):
        assert time.monotonic() < deadline and not task.done()
        time.sleep(0.01)
    task.result()
    assert seen
