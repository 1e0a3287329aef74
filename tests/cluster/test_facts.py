"""Workers whose answers could not stand in one report do not work together."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgecvx.cluster.facts import Facts, check_alike, check_same, facts_of
from edgecvx.cluster.refusals import ClusterError

HERE = facts_of("tcp://127.0.0.1:1", 1, True)


def worker(**changes: Any) -> Facts:
    return dataclasses.replace(HERE, worker="tcp://127.0.0.1:2", host="other", **changes)


def test_equal_workers_work_together_wherever_they_are() -> None:
    assert check_alike([HERE, worker()]) == ()
    assert HERE.digest == worker().digest
    check_same([HERE, worker()], "here")


@pytest.mark.parametrize("name", ["edgecvx", "torch", "onnxruntime", "numpy"])
def test_another_version_is_refused_with_both_and_their_hosts(name: str) -> None:
    other = worker(versions={**HERE.versions, name: "0.0.1"})
    with pytest.raises(ClusterError, match=rf"different versions of {name} \(.*0\.0\.1 on other\): install the same"):
        check_alike([HERE, other])
    assert other.digest != HERE.digest


def test_a_runtime_that_one_worker_lacks_is_another_version() -> None:
    versions = dict(HERE.versions)
    del versions["onnxruntime"]
    with pytest.raises(ClusterError, match="missing on other"):
        check_alike([HERE, worker(versions=versions)])


def test_pictures_are_those_of_this_machine_only_with_its_versions() -> None:
    with pytest.raises(ClusterError, match=r"other has Pillow 1\.0, this machine"):
        check_same([worker(versions={**HERE.versions, "Pillow": "1.0"})], "tls://a:1")


def test_several_classes_of_processors_are_said_and_never_taken_for_one() -> None:
    other = worker(kind="NEON", machine="aarch64")
    (said,) = check_alike([HERE, other])
    assert "aarch64 NEON" in said and f"{HERE.machine} {HERE.processor}" in said
    assert other.digest != HERE.digest


def test_workers_of_several_threads_are_refused() -> None:
    with pytest.raises(ClusterError, match="has 4 threads: start workers with --nthreads 1"):
        check_alike([worker(threads=4)])
