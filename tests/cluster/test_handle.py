"""Calls come back though workers hang, have no room, join late, or the scheduler is started again: with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support import ROOT

pytest.importorskip("distributed")
pytest.importorskip("resource")
from clusters import RealCluster, end, real_cluster

from edgecvx.cluster.connect import connect
from edgecvx.cluster.handle import Word
from edgecvx.cluster.parcels import fetch
from edgecvx.cluster.refusals import ClusterError
from edgecvx.data.dataset import demo_sha256
from edgecvx.data.truth import read_truth
from edgecvx.errors import UsageError
from edgecvx.files import file_sha256


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with real_cluster(tmp_path_factory.mktemp("cluster"), workers=1) as cluster:
        yield cluster


def hashes(count: int) -> list[str]:
    return [demo_sha256("validation", index) for index in range(count)]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes a while to hash, and no room."""
    path = tmp_path_factory.mktemp("long") / "zeros"
    with path.open("wb") as stream:
        stream.truncate(1 << 28)
    return path


def test_calls_come_back_with_what_they_return_or_raise(real: RealCluster) -> None:
    with connect(real.address) as cluster:
        assert [facts.threads for facts in cluster.workers] == [1]
        calls = [cluster.submit(demo_sha256, "validation", index, key=f"{index}") for index in range(8)]
        bad = cluster.submit(read_truth, Path("nowhere.txt"))
        done = list(cluster.as_completed(calls))
        assert sorted(call.result() for call in done) == sorted(hashes(8))
        with pytest.raises(UsageError, match="cannot read the labels"):
            next(cluster.as_completed([bad])).result()
        assert cluster.settled(timeout=0) is None


def test_only_functions_of_edgecvx_are_sent(real: RealCluster) -> None:
    with connect(real.address) as cluster:
        for function in (hashes, os.getpid, lambda: 1):
            with pytest.raises(UsageError, match="cannot run on a cluster"):
                cluster.submit(function)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals are absent")
def test_a_worker_that_hangs_is_started_again_and_its_call_done(real: RealCluster, long: Path) -> None:
    with connect(real.address) as cluster:
        (pid,) = cluster.client.run(os.getpid).values()
        call = cluster.submit(file_sha256, long, limit=5.0)
        while call.key not in cluster.words:
            cluster.settled(timeout=0)
        os.kill(pid, signal.SIGSTOP)
        (done,) = cluster.as_completed([call])
        assert done.tries > 1 and len(done.result()) == 64


def test_a_call_of_a_worker_that_is_gone_by_the_time_it_counts_as_hung_goes_to_another(
    real: RealCluster, long: Path
) -> None:
    with connect(real.address) as cluster:
        call = cluster.submit(file_sha256, long, limit=60.0)
        cluster._rescue(call, Word(worker="tcp://127.0.0.1:9", key=call.key, done=0, of=0))
        (done,) = cluster.as_completed([call])
        assert done.tries == 2 and len(done.result()) == 64


def test_a_worker_that_joins_late_is_sent_what_it_lacks_and_one_without_room_gets_no_work(
    real: RealCluster, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 200_000)
    with connect(real.address) as cluster:
        parcel = cluster.send(file)
        full = real.start_worker(most_bytes=100_000)
        late = real.start_worker()
        cluster.client.wait_for_workers(3)
        calls = [cluster.submit(fetch, parcel, key=f"fetch {n}") for n in range(12)]
        assert len({call.result() for call in cluster.as_completed(calls)}) >= 1
        assert any("File too large" in warning for warning in cluster.warnings), cluster.warnings
    end(full)
    end(late)


def test_a_scheduler_that_is_started_again_is_asked_again(tmp_path: Path, long: Path) -> None:
    with real_cluster(tmp_path, workers=1) as real, connect(real.address) as cluster:
        calls = [cluster.submit(file_sha256, long) for _ in range(3)]
        next(cluster.as_completed(calls[:1]))
        port = urlsplit(real.address).port
        assert real.scheduler is not None and port is not None
        end(real.scheduler)
        real.start_scheduler(port)
        real.start_worker()
        assert len([call.result() for call in cluster.as_completed(calls[1:])]) == 2


def test_a_scheduler_that_is_gone_is_told_in_a_sentence(
    long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_cluster(tmp_path, workers=1) as real, connect(real.address) as cluster:
        call = cluster.submit(file_sha256, long)
        assert real.scheduler is not None
        end(real.scheduler)
        monkeypatch.setattr("edgecvx.cluster.handle.PATIENCE", 1.0)
        monkeypatch.setattr("edgecvx.cluster.connect._FIRST", 1.0)
        with pytest.raises(ClusterError, match="is gone: start it again, and the same command goes on"):
            list(cluster.as_completed([call]))


def test_where_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecvx.cluster.connect._FIRST", 0.5)
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    made = subprocess.run([sys.executable, ROOT / "tools" / "certificates.py", folder], capture_output=True, text=True)
    if "openssl is not installed" in made.stderr:
        pytest.skip("openssl is not installed")
    assert made.returncode == 0, made.stderr
    return folder


def merged(folder: Path) -> dict[str, Any]:
    """Dask's configuration as it is with ``DASK_CONFIG=folder``."""
    import dask.config

    found: dict[str, Any] = dask.config.merge(dask.config.config, *dask.config.collect_yaml([str(folder)]))
    return found


def test_with_certificates_a_cluster_is_private_and_without_them_nobody_gets_in(
    certificates: Path, tmp_path: Path
) -> None:
    import dask.config

    settings = merged(certificates)
    with real_cluster(tmp_path, workers=1, settings=certificates) as real:
        assert real.address.startswith("tls://")
        with dask.config.set(settings), connect(real.address) as cluster:
            calls = [cluster.submit(demo_sha256, "validation", index) for index in range(3)]
            assert sorted(call.result() for call in cluster.as_completed(calls)) == sorted(hashes(3))
        with pytest.raises(UsageError, match="needs certificates"), connect(real.address):
            pass
        other = certificates.parent / "strangers"
        subprocess.run([sys.executable, ROOT / "tools" / "certificates.py", other], check=True, capture_output=True)
        strange = merged(other)
        with (
            dask.config.set(strange),
            pytest.raises(ClusterError, match="no scheduler answers"),
            connect(real.address),
        ):
            pass
