"""The reference as a session."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from lowerings import reference
from support import network, probe

from edgecvx.errors import RuntimeFailedError, UsageError
from edgecvx.runtimes.torch import TorchSession, _Threads, version
from edgecvx.spec import Task


@pytest.mark.parametrize("task", Task)
def test_it_is_the_unfolded_network(task: Task) -> None:
    module, x = network(), probe(2)
    session = TorchSession(module, task=task, image_size=64, batch=2, threads=1)
    results = session.run(x)
    assert [(name, array.shape) for name, array in results.items()] == [(o.name, o.shape) for o in session.outputs]
    for actual, expected in zip(results.values(), reference(module, x, task), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert version() == torch.__version__


def test_the_process_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    TorchSession(network(), image_size=64, threads=2).run(probe())
    assert torch.get_num_threads() == before


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RuntimeFailedError, match=r"'image' takes float32 \[1, 3, 64, 64\]"):
        TorchSession(network(), image_size=64).run(probe(2))
    with pytest.raises(UsageError, match="has no classifier"):
        TorchSession(network(num_classes=0), image_size=64)
    with pytest.raises(UsageError, match="multiple of 32"):
        TorchSession(network(), image_size=100)


def test_a_run_that_ends_leaves_one_beside_it_its_thread() -> None:
    """MKL's count is the process's: given back too early, it changes the last digits of a product that is under way."""
    counts: list[int] = []
    begun, ended = threading.Event(), threading.Event()
    runs = _Threads()

    def beside() -> None:
        with runs.limited(1):
            begun.set()
            ended.wait()
            counts.append(torch.get_num_threads())
        counts.append(torch.get_num_threads())

    def run() -> None:
        with runs.limited(1):
            other.start()
            begun.wait()
        ended.set()

    other = threading.Thread(target=beside)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        first = threading.Thread(target=run)
        first.start()
        first.join()
        other.join()
        assert counts == [1, 3]
    finally:
        torch.set_num_threads(before)
