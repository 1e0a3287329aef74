"""Ranges: what each estimator promises, and that the judge of ranges can tell a bad one."""

from __future__ import annotations

import numpy as np
import pytest
from calibrated import point_of
from numpy.typing import NDArray

from edgecvx.errors import UsageError
from edgecvx.graph.grids import Grid, grid_of_range, quantize_weight
from edgecvx.quantize.observe.estimators import choose_range, output_error, rounded


def heavy_tailed(seed: int = 0) -> NDArray[np.float32]:
    """Normal values, each pixel and channel with a spread of its own: a few reach far beyond the rest."""
    draw = np.random.default_rng(seed)
    return (draw.standard_normal((512, 64)) * np.exp(draw.standard_normal((512, 64)))).astype(np.float32)


def square_error(rows: NDArray[np.float32], grid: Grid) -> float:
    return float(np.square(rounded(rows, grid) - rows).mean())


@pytest.mark.parametrize("symmetric", [False, True])
def test_minmax_clips_nothing_that_was_seen(symmetric: bool) -> None:
    rows = heavy_tailed()
    low, high, name = choose_range(point_of(rows), "minmax", symmetric=symmetric)
    assert (low, high, name) == (rows.min(), rows.max(), "minmax")


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("percentile", [99.0, 99.9])
def test_a_percentile_clips_what_it_says(symmetric: bool, percentile: float) -> None:
    rows = heavy_tailed()
    low, high, _ = choose_range(point_of(rows), "percentile", symmetric=symmetric, percentile=percentile)
    outside = 100 * float(((rows < low) | (rows > high)).mean())
    assert outside == pytest.approx(100 - percentile, rel=0.1)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("shape", ["tailed", "gelu", "offset"])
def test_mse_is_as_good_as_trying_every_range(symmetric: bool, shape: str) -> None:
    rows = heavy_tailed()
    if shape == "gelu":
        rows = np.maximum(rows, -0.17)
    if shape == "offset":
        rows = rows + 3
    low, high, _ = choose_range(point_of(rows), "mse", symmetric=symmetric)
    found = square_error(rows, grid_of_range(low, high, symmetric=symmetric))
    tried = min(
        square_error(rows, grid_of_range(float(rows.min()) * a, float(rows.max()) * b, symmetric=symmetric))
        for a in np.linspace(0.01, 1, 25)
        for b in np.linspace(0.01, 1, 25)
    )
    assert found <= 1.05 * tried  # the search goes in steps


def test_mse_is_better_than_minmax_where_values_are_rare() -> None:
    point = point_of(heavy_tailed())
    errors = {
        name: square_error(point.rows, grid_of_range(*choose_range(point, name, symmetric=False)[:2], symmetric=False))
        for name in ("minmax", "mse")
    }
    assert errors["mse"] < 0.95 * errors["minmax"]


@pytest.mark.parametrize("loud", range(8))
def test_mse_looks_at_every_channel(loud: int) -> None:
    """More values than are searched: taken at equal steps, they must not be the same few channels of each pixel."""
    rows = np.random.default_rng(3).uniform(-1, 1, (512, 384)).astype(np.float32)
    rows[:, loud] *= 20
    low, high, _ = choose_range(point_of(rows), "mse", symmetric=True)
    assert high - low > 20, "a channel in 384 holds half of all energy, and clipping it would cost most of that"


@pytest.mark.parametrize("symmetric", [False, True])
def test_auto_clips_only_where_that_wins_resolution(symmetric: bool) -> None:
    even = np.random.default_rng(2).uniform(-1, 1, (512, 400)).astype(np.float32)
    rare = even.copy()
    rare[0, 0] = 50
    assert choose_range(point_of(even), "auto", symmetric=symmetric).estimator == "minmax"
    low, high, name = choose_range(point_of(rare), "auto", symmetric=symmetric)
    assert name == "percentile" and low > -1.1 and high < 1.1


@pytest.mark.parametrize("estimator", ["minmax", "percentile", "mse", "auto"])
def test_a_tensor_of_zeros_has_a_range(estimator: str) -> None:
    low, high, _ = choose_range(point_of(np.zeros((8, 4), np.float32)), estimator, symmetric=False)  # type: ignore[arg-type]
    assert grid_of_range(low, high, symmetric=False).scale > 0


def test_rounding_is_the_grid_s_own() -> None:
    rows, grid = heavy_tailed(), grid_of_range(-1.3, 2.9, symmetric=False)
    np.testing.assert_allclose(rounded(rows, grid), grid.dequantize(grid.quantize(rows)), atol=grid.scale * 1e-3)


def test_the_judge_of_a_layer_tells_a_coarse_grid_and_a_clipping_one() -> None:
    draw = np.random.default_rng(1)
    rows = draw.standard_normal((256, 32)).astype(np.float32)
    weight = draw.standard_normal((16, 32)).astype(np.float32)
    quantized = quantize_weight(weight)
    fit, coarse, clipping = (
        output_error(rows @ weight.T, rows, quantized, grid_of_range(-w, w, symmetric=True)) for w in (4.5, 45.0, 1.0)
    )
    assert 0 < fit < coarse / 10 and fit < clipping / 10


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown range estimator 'mean'"):
        choose_range(point_of(heavy_tailed()), "mean", symmetric=False)  # type: ignore[arg-type]
