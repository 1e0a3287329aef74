"""Smoothing: exact in real arithmetic, worth something in INT8, and left out where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from calibrated import point_of
from numpy.typing import NDArray

from edgecvx.graph.grids import grid_of_range, quantize_weight
from edgecvx.quantize.observe.estimators import output_error
from edgecvx.quantize.smooth import WIDEST, smoothed, smoothed_weight, smoothing_scales

Floats = NDArray[np.float64]


def uneven_rows(spread: float, seed: int = 0) -> NDArray[np.float32]:
    """What GRN hands to fc2: positive tails, and channels of very different reach."""
    draw = np.random.default_rng(seed)
    widths = np.exp(draw.uniform(-spread, spread, 48))
    return np.asarray(np.maximum(draw.standard_normal((512, 48)), -0.17) * widths, np.float32)


def weight_of(seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((16, 48)).astype(np.float32)


def grn(x: Floats, gamma: Floats, base: Floats) -> Floats:
    """The canonical graph's Grn over pixels ``[N, C]``, in float64."""
    energy = np.sqrt(np.square(x).mean(axis=0))
    return np.asarray(x * (base + gamma * energy / (energy.mean() + 1e-6)))


def test_grn_carries_the_division_exactly() -> None:
    """Identity 5 in float64: to the rounding of a sum of 48 products."""
    draw = np.random.default_rng(2)
    x = draw.standard_normal((64, 48))
    gamma, base, weight = draw.standard_normal(48), np.ones(48), weight_of().astype(np.float64)
    scales = np.exp(draw.uniform(-3, 3, 48))
    expected = grn(x, gamma, base) @ weight.T
    kept = grn(x, gamma / scales, base / scales) @ (weight * scales).T
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    for broken in (
        grn(x, gamma / scales, base) @ (weight * scales).T,  # the residual path of GRN forgotten
        grn(x, gamma / scales, base / scales) @ weight.T,  # the weights forgotten
    ):
        assert np.abs(broken - expected).max() > 0.1 * np.abs(expected).max()


def test_statistics_and_weights_move_together() -> None:
    rows, weight = uneven_rows(1.0), weight_of()
    scales = np.exp(np.random.default_rng(3).uniform(-2, 2, 48))
    after = smoothed(point_of(rows), scales)
    expected = point_of((rows / scales).astype(np.float32))
    np.testing.assert_allclose(after.low, expected.low, rtol=1e-6)
    outputs = after.rows @ smoothed_weight(weight, scales).T
    np.testing.assert_allclose(
        outputs, point_of(rows).rows @ weight.T, rtol=0, atol=1e-4 * np.abs(outputs).max()
    )  # float32 sums
    assert smoothed_weight(weight.reshape(16, 48, 1, 1), scales).shape == (16, 48, 1, 1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_uneven_channels_are_smoothed_to_a_fraction_of_the_error(symmetric: bool) -> None:
    point, weight = point_of(uneven_rows(2.0)), weight_of()

    def error(scales: Floats) -> float:
        after, moved = smoothed(point, scales), smoothed_weight(weight, scales)
        grid = grid_of_range(*after.range, symmetric=symmetric)
        return output_error(point.rows @ weight.T, after.rows, quantize_weight(moved), grid)

    scales = smoothing_scales(point, weight)
    assert scales is not None
    assert error(scales) < 0.5 * error(np.ones(48))
    assert scales.min() >= 1 / WIDEST and scales.max() <= WIDEST
    assert error(1 / scales) > error(np.ones(48)), "the wrong way round is worse than nothing"


def test_even_channels_are_left_alone() -> None:
    draw = np.random.default_rng(4)
    rows = draw.uniform(-1, 1, (512, 48)).astype(np.float32)
    weight = draw.uniform(-1, 1, (16, 48)).astype(np.float32)
    assert smoothing_scales(point_of(rows), weight) is None


def test_dead_channels_do_no_harm() -> None:
    rows, weight = uneven_rows(2.0), weight_of()
    rows[:, :5] = 0
    weight[:, 3:8] = 0
    scales = smoothing_scales(point_of(rows), weight)
    assert scales is not None and np.isfinite(scales).all() and (scales[:8] == 1).all()
    assert smoothing_scales(point_of(np.zeros_like(rows)), weight) is None
