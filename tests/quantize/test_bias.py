"""Bias correction: the mean of what a layer returns is right again."""

from __future__ import annotations

import numpy as np
import pytest
from calibrated import point_of
from numpy.typing import NDArray

from edgecvx.graph.grids import quantize_weight
from edgecvx.quantize.bias import bias_correction

Floats = NDArray[np.float64]


def sample() -> NDArray[np.float32]:
    """Values behind a GELU: most of them small and negative, where a coarse grid rounds all of them the same way."""
    x = np.random.default_rng(0).standard_normal((512, 24))
    return np.asarray(np.where(x > 1.5, 4 * x, -0.1 * np.abs(x)), np.float32)


@pytest.mark.parametrize("kernel", [(8, 24), (8, 24, 1, 1), (8, 24, 2, 2), (24, 1, 7, 7)])
def test_the_mean_of_the_output_is_restored(kernel: tuple[int, ...]) -> None:
    """On pixels that are the same in the whole window, each layer is a matrix product: checked in float64."""
    weight = np.random.default_rng(1).standard_normal(kernel).astype(np.float32)
    rows, quantized = sample(), quantize_weight(weight)
    correction = bias_correction(weight, quantized, point_of(rows))

    def mean(taken: NDArray[np.float32], values: Floats) -> Floats:
        taps = taken.astype(np.float64).reshape(*taken.shape[:2], -1).sum(axis=2)
        return np.asarray((values * taps[:, 0] if kernel[1] == 1 else values @ taps.T).mean(axis=0))

    exact = mean(weight, rows.astype(np.float64))
    inexact = mean(quantized.dequantize(), rows.astype(np.float64))
    size = np.abs(exact).max()
    assert np.abs(inexact - exact).max() > 1e-5 * size, "there is something to correct"
    np.testing.assert_allclose(inexact + correction, exact, rtol=0, atol=1e-10 * size)
    assert np.abs(inexact - correction - exact).max() > np.abs(inexact - exact).max(), "and its sign matters"


def test_it_is_what_the_weights_rounding_does_to_the_mean() -> None:
    weight = np.random.default_rng(2).standard_normal((8, 24)).astype(np.float32)
    quantized, rows = quantize_weight(weight), sample()
    expected = (weight - quantized.dequantize()).astype(np.float64) @ rows.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(bias_correction(weight, quantized, point_of(rows)), expected, atol=1e-7)


def test_weights_that_int8_holds_exactly_need_none() -> None:
    weight = np.random.default_rng(3).integers(-127, 128, (8, 24)).astype(np.float32)
    weight[:, 0] = 127
    assert not bias_correction(weight, quantize_weight(weight), point_of(sample())).any()
