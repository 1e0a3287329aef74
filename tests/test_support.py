"""The tests' own tools: a comparison that accepts everything would make every other test worthless."""

from __future__ import annotations

import os
import socket

import numpy as np
import pytest
import torch
from support import assert_close, network, probe, relative_error

EXPECTED = np.linspace(-2.0, 1.0, 12).reshape(3, 4)
TOP = np.arange(12).reshape(3, 4) == 11


def test_error_is_a_part_of_the_largest_absolute_value() -> None:
    actual = EXPECTED.copy()
    actual[2, 3] += 0.02  # of a largest absolute value of 2
    assert relative_error(actual, EXPECTED) == pytest.approx(0.01)
    assert_close(actual, EXPECTED, 0.011, why="an error of 1% is inside 1.1%")
    with pytest.raises(AssertionError, match=r"error 0\.01 of the largest value, over 0\.009"):
        assert_close(actual, EXPECTED, 0.009, why="and outside 0.9%")


def test_accepts_tensors_and_lists() -> None:
    assert_close(torch.from_numpy(EXPECTED), EXPECTED.tolist(), 0.0, why="the same numbers")


@pytest.mark.parametrize(
    ("name", "broken"),
    {
        "zeros": np.zeros_like(EXPECTED),
        "sign": -EXPECTED,
        "order": EXPECTED[::-1],
        "one value": np.where(TOP, EXPECTED.min(), EXPECTED),
        "nan": np.where(TOP, np.nan, EXPECTED),
        "infinite": np.where(TOP, np.inf, EXPECTED),
        "row missing": EXPECTED[:2],
        "broadcast": EXPECTED[None],
        "scalar": np.float64(0.0),
    }.items(),
)
def test_rejects_broken_output(name: str, broken: object) -> None:
    with pytest.raises(AssertionError):
        assert_close(broken, EXPECTED, 0.5, why=f"{name} is no answer, whatever the tolerance")  # type: ignore[arg-type]


@pytest.mark.parametrize("useless", [np.zeros(4), np.full(4, 3.0), np.array([]), np.array([1.0, np.nan])])
def test_refuses_an_expectation_that_proves_nothing(useless: np.ndarray) -> None:
    with pytest.raises(AssertionError, match=r"constant|empty or not finite"):
        assert_close(useless, useless, 1.0, why="a model that returns a constant would pass")


def test_networks_and_inputs_are_seeded() -> None:
    assert np.array_equal(probe(2, 64), probe(2, 64))
    assert not np.array_equal(probe(1, 64), probe(1, 64, seed=1))
    once, again, other = (network(seed=s).head.fc.weight for s in (3, 3, 4))  # type: ignore[union-attr]
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_one_thread() -> None:
    assert torch.get_num_threads() == 1


def test_network_is_refused_and_remembered(network_attempts: list[str]) -> None:
    with pytest.raises(PermissionError, match="do not use the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # a block of addresses that belongs to nobody
    with pytest.raises(PermissionError):
        socket.getaddrinfo("example.invalid", 443)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, pytest.raises(PermissionError):
        udp.sendto(b"telemetry", ("192.0.2.1", 9))
    assert len(network_attempts) == 3
    network_attempts.clear()  # they were the test's own


def test_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_hub_is_offline_and_its_cache_is_empty() -> None:
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE
    assert os.environ["HF_HUB_CACHE"] == constants.HF_HUB_CACHE
    assert not os.path.exists(constants.HF_HUB_CACHE)  # noqa: PTH110
