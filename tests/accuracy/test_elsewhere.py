"""A validation on a cluster gives the report of one machine, byte for byte, whatever happens to its workers."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgecvx.accuracy import delivery, elsewhere
from edgecvx.accuracy.cache import RowStore
from edgecvx.accuracy.shard import Shard
from edgecvx.accuracy.validate import Progress, validate
from edgecvx.data import demo
from edgecvx.errors import EdgecvxError
from edgecvx.results.accuracy import Validation, as_json

pytest.importorskip("distributed")
from edgecvx.cluster.connect import connect
from edgecvx.cluster.handle import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with connect("local:2") as workers:
        yield workers


def run(exported: Any, cache: Path, **options: Any) -> Validation:
    options = {"data": "demo", "limit": 40, "threads": 1, "batch": 4, "checkpoints": [exported.checkpoint], **options}
    return validate(options.pop("artifacts", exported.path), cache_dir=cache, **options)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of them that something can happen in between."""
    monkeypatch.setattr(elsewhere, "SHARD", 4)


def test_the_report_is_that_of_one_machine(cluster: Cluster, small_classifier: Any, tmp_path: Path) -> None:
    said: list[Progress] = []
    there = run(small_classifier, tmp_path / "there", cluster=cluster, on_progress=said.append)
    assert as_json(there) == as_json(run(small_classifier, tmp_path / "here"))
    assert {word.worker for at in said for word in at.workers} == {facts.worker for facts in cluster.workers}
    assert said[-1].done == said[-1].total == 40
    again = run(small_classifier, tmp_path / "there")
    assert again.artifacts[0].reference is not None and again.artifacts[0].reference.from_cache == 40


def test_a_row_that_is_wrong_shows(
    cluster: Cluster, small_classifier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: a single figure of a single row that came back otherwise, and the reports differ."""
    original = RowStore.add

    def add(self: Any, keys: Any, rows: Any) -> None:
        if rows.dtype.names and "outputs" in rows.dtype.names:
            rows = rows.copy()
            rows["outputs"]["noise"][0] *= 1 + 1e-12
        original(self, keys, rows)

    monkeypatch.setattr(RowStore, "add", add)
    there = run(small_classifier, tmp_path / "there", cluster=cluster)
    monkeypatch.undo()
    assert as_json(there) != as_json(run(small_classifier, tmp_path / "here"))


def test_artifacts_that_a_worker_cannot_keep_open_together_go_in_shards_of_their_own(
    cluster: Cluster, small_classifier: Any, native_classifier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each would be opened again for every batch of pictures."""
    sent: list[Shard] = []
    original = Cluster.submit

    def submit(self: Cluster, function: Any, *args: Any, **options: Any) -> Any:
        sent.extend(argument for argument in args if isinstance(argument, Shard))
        return original(self, function, *args, **options)

    monkeypatch.setattr(Cluster, "submit", submit)
    monkeypatch.setattr(elsewhere, "OPEN_FILES", 1)
    files = [small_classifier.path, native_classifier.path]
    there = run(small_classifier, tmp_path / "there", cluster=cluster, artifacts=files)
    assert [{entry.index for entry in shard.entries} for shard in sent] == sorted(
        ({entry.index for entry in shard.entries} for shard in sent), key=min
    )
    assert {len(shard.entries) for shard in sent} == {1}
    assert as_json(there) == as_json(run(small_classifier, tmp_path / "here", artifacts=files))


def idle(sizes: Sequence[int], workers: int) -> int:
    """Pictures that others still have when the first worker has nothing left to do."""
    until = [0] * workers
    for size in sizes:
        until[until.index(min(until))] += size
    return max(until) - min(until)


@pytest.mark.parametrize("workers", [1, 2, 7, 64])
@pytest.mark.parametrize("pictures", [1, 8, 100, 2_000, 50_001])
def test_all_workers_end_within_a_batch_of_each_other(pictures: int, workers: int) -> None:
    sizes: list[int] = []
    while left := pictures - sum(sizes):
        sizes.append(min(left, elsewhere.shard_size(left, 8, workers)))
    assert max(sizes) <= elsewhere.SHARD and all(size % 8 == 0 for size in sizes[:-1])
    assert idle(sizes, workers) <= 8
    assert len(sizes) <= pictures / elsewhere.SHARD + 40 * workers, "the scheduler has little to do"


def test_shards_of_one_size_leave_workers_idle() -> None:
    """The twin."""
    assert idle([elsewhere.SHARD] * 31, 2) == elsewhere.SHARD


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures as files, one of them damaged."""
    place = tmp_path_factory.mktemp("pictures") / "val"
    place.mkdir()
    for index in range(24):
        Image.fromarray(demo.picture(index, size=80)[0]).save(place / f"{index:03d}.png")
    content = (place / "007.png").read_bytes()
    (place / "007.png").write_bytes(content[: len(content) // 2])
    return place


@pytest.mark.parametrize("seen", [True, False])
def test_pictures_go_by_path_or_by_content_and_damaged_ones_are_told(
    seen: bool, cluster: Cluster, small_classifier: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    original = delivery.Delivery.packed

    def packed(self: Any, samples: Any) -> Any:
        self._by_path = self._by_path and seen
        sent.extend(original(self, samples))
        return original(self, samples)

    monkeypatch.setattr(delivery.Delivery, "packed", packed)
    options = {"data": folder, "truth": "none", "limit": None}
    there = run(small_classifier, tmp_path / "there", cluster=cluster, **options)
    assert {sample.content is None for sample in sent if sample.name != "007.png"} == {seen}
    here = run(small_classifier, tmp_path / "here", **options)
    assert as_json(there) == as_json(here)
    assert [s.name for s in there.data.skipped] == ["007.png"]


def test_a_picture_that_workers_do_not_find_is_sent(
    cluster: Cluster, small_classifier: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They said that they see the folder, and one file of theirs is another."""
    elsewhere_folder = tmp_path / "val"
    shutil.copytree(folder, elsewhere_folder)
    (elsewhere_folder / "011.png").unlink()
    monkeypatch.setattr(Path, "absolute", lambda self: elsewhere_folder / self.name if self.parent == folder else self)
    options = {"data": folder, "truth": "none", "limit": None}
    there = run(small_classifier, tmp_path / "there", cluster=cluster, **options)
    monkeypatch.undo()
    assert as_json(there) == as_json(run(small_classifier, tmp_path / "here", **options))


@pytest.mark.usefixtures("small_shards")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals are absent")
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(
    cluster: Cluster, small_classifier: Any, tmp_path: Path
) -> None:
    victims = [cluster.client.run(os.getpid)[facts.worker] for facts in cluster.workers[:1]]

    def kill(at: Progress) -> None:
        if at.done >= 8 and victims:
            os.kill(victims.pop(), signal.SIGKILL)

    there = run(small_classifier, tmp_path / "there", cluster=cluster, on_progress=kill)
    assert not victims
    assert as_json(there) == as_json(run(small_classifier, tmp_path / "here"))


@pytest.mark.usefixtures("small_shards")
def test_a_client_that_is_stopped_goes_on_behind_the_rows_that_arrived(
    cluster: Cluster, small_classifier: Any, tmp_path: Path
) -> None:
    def stop(at: Progress) -> None:
        if at.done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_classifier, tmp_path / "there", cluster=cluster, on_progress=stop)
    known: list[int] = []
    there = run(small_classifier, tmp_path / "there", cluster=cluster, on_progress=lambda at: known.append(at.known))
    assert max(known) >= 12
    here = run(small_classifier, tmp_path / "here")
    assert [dataclasses.replace(a, reference=None) for a in there.artifacts] == [
        dataclasses.replace(a, reference=None) for a in here.artifacts
    ]


def test_what_is_wrong_with_one_file_stops_no_other(cluster: Cluster, small_classifier: Any, tmp_path: Path) -> None:
    broken = tmp_path / small_classifier.path.name
    for path in small_classifier.path.parent.glob(f"{small_classifier.path.name}*"):
        shutil.copy(path, tmp_path)
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    files = [broken, small_classifier.path]
    there = run(small_classifier, tmp_path / "there", cluster=cluster, artifacts=files)
    assert as_json(there) == as_json(run(small_classifier, tmp_path / "here", artifacts=files))
    assert [a.verdict.kind for a in there.artifacts] == ["error", "undecided"]


def test_two_who_want_the_same_rows_at_once_compute_them_once(
    cluster: Cluster, small_classifier: Any, tmp_path: Path, small_shards: None
) -> None:
    """The second waits, says so, and finds them."""
    said: list[Progress] = []
    second: list[Validation] = []
    begun = threading.Event()

    def other() -> None:
        with connect(cluster.client.scheduler.address) as own:
            second.append(run(small_classifier, tmp_path / "both", cluster=own, on_progress=said.append))

    thread = threading.Thread(target=other)

    def begin(at: Progress) -> None:
        if at.done >= 4 and not begun.is_set():
            begun.set()
            thread.start()

    first = run(small_classifier, tmp_path / "both", cluster=cluster, on_progress=begin)
    thread.join()
    known = max(at.known for at in said)
    assert known == 40 or any("waiting" in at.note for at in said)
    assert second[0].artifacts[0].top1 == first.artifacts[0].top1
    rows = sum(path.stat().st_size for path in (tmp_path / "both" / "rows").glob("*/*.rows"))
    alone = tmp_path / "alone"
    run(small_classifier, alone)
    assert rows == sum(path.stat().st_size for path in (alone / "rows").glob("*/*.rows"))


def test_a_cluster_that_is_none_is_refused_before_anything_else(small_classifier: Any, tmp_path: Path) -> None:
    for address in ("tcp://10.0.0.1:8786", "http://x:1", "local:0", "kitchen"):
        with pytest.raises(EdgecvxError, match="does not work"):
            run(small_classifier, tmp_path, cluster=address)
