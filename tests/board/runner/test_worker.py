"""The warm-up ends when times are steady, or patience does."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from edgecvx.board import engines
from edgecvx.board.device import memory
from edgecvx.board.engines.base import Tensor
from edgecvx.board.runner.order import Artifact
from edgecvx.board.runner.worker import Task, warm_up
from edgecvx.board.runner.yardstick import yardstick_ns


def clock(times: Iterable[int]) -> Callable[[], int]:
    return iter(times).__next__


def test_it_ends_with_two_windows_whose_medians_agree() -> None:
    times = [900, 700, 600, 400, 300, 200, 101, 100, 100, 100, 102, 99, 1, 1]
    samples, steady = warm_up(clock(times), window=3, tolerance=0.02, max_runs=500, max_seconds=60)
    assert (samples, steady) == (times[:12], True)


def test_one_outlier_does_not_keep_it_going() -> None:
    samples, steady = warm_up(
        clock([100, 100, 100, 100, 9000, 100, 5]), window=3, tolerance=0.02, max_runs=500, max_seconds=60
    )
    assert (len(samples), steady) == (6, True)


def test_times_that_never_settle_end_with_patience() -> None:
    growing = (2**n for n in range(1000))
    samples, steady = warm_up(clock(growing), window=2, tolerance=0.02, max_runs=7, max_seconds=60)
    assert (len(samples), steady) == (7, False)
    samples, steady = warm_up(clock([5]), window=2, tolerance=0.02, max_runs=7, max_seconds=0)
    assert (samples, steady) == ([5], False)


def test_the_yardstick_is_some_work() -> None:
    assert yardstick_ns() > 100_000  # at a gigabyte a second it would be 1.5 ms


@pytest.mark.parametrize(("held", "model"), [(1500, 500), (400, None)])
def test_memory_that_was_taken_back_meanwhile_is_unknown_and_not_below_zero(
    held: int, model: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter((1000, held))
    session = types.SimpleNamespace(run=lambda batch: [])
    monkeypatch.setattr(memory, "resident", lambda: next(sizes))
    monkeypatch.setattr(engines, "load", lambda *_: types.SimpleNamespace(open=lambda *_: session))
    np.save(tmp_path / "x.npy", np.zeros((1, 2), np.float32))
    (tmp_path / "model").touch()
    tensor = Tensor(name="x", shape=(1, 2), dtype="float32", layout="NC")
    rest = {"threads": 1, "options": {}, "preprocess": None, "logits": None}
    artifact = Artifact(id="a0", runtime="tflite", path="model", input=tensor, array="x.npy", **rest)  # type: ignore[arg-type]
    assert Task(tmp_path, artifact).answer({"do": "memory"})["model"] == model
