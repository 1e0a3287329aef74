"""The arithmetic of INT8 against its definition in exact numbers, and against ONNX's own operators."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgecvx.errors import EdgecvxError
from edgecvx.graph.grids import (
    BYTES,
    Grid,
    Weight,
    bias_int32,
    grid_of_range,
    quantize_weight,
    room_for_bias,
    weight_scales,
)

DRAW = np.random.default_rng(0)


def onnx_quantized(x: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Both directions by ONNX's reference implementation."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        agraph (float[N] x, float s, int8 z) => (int8[N] q, float[N] y) {
            q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)
        }"""
    )
    feeds = {"x": x, "s": np.float32(grid.scale), "z": np.int8(grid.zero_point)}
    q, y = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(q), np.asarray(y)


@pytest.mark.parametrize(
    "low,high,symmetric", [(-3.0, 5.0, False), (-3.0, 5.0, True), (0.5, 9.0, False), (-7, -1, False)]
)
def test_numpy_and_onnx_put_numbers_on_the_same_grid(low: float, high: float, symmetric: bool) -> None:
    grid = grid_of_range(low, high, symmetric=symmetric)
    x = DRAW.uniform(2 * low - 1, 2 * high + 1, 4096).astype(np.float32)
    q, y = onnx_quantized(x, grid)
    np.testing.assert_array_equal(grid.quantize(x), q)
    np.testing.assert_array_equal(grid.dequantize(q), y)


def test_halves_are_rounded_to_the_even_step() -> None:
    grid = Grid(scale=2.0)
    np.testing.assert_array_equal(grid.quantize(np.array([1.0, 3.0, 5.0, -1.0, -3.0])), [0, 2, 2, 0, -2])


@pytest.mark.parametrize(
    "low,high", [(-1.0, 1.0), (0.25, 3.0), (-8.0, -2.0), (0.0, 0.0), (-1e-30, 1e-30), (-1e30, 1.0)]
)
@pytest.mark.parametrize("symmetric", [False, True])
def test_zero_is_on_every_grid_and_the_range_inside_it(low: float, high: float, symmetric: bool) -> None:
    grid = grid_of_range(low, high, symmetric=symmetric)
    assert grid.dequantize(grid.quantize(np.zeros(1)))[0] == 0
    # Moving zero onto the grid shifts the ends by half a step at most.
    assert grid.low <= low + grid.scale / 2 and grid.high >= high - grid.scale / 2
    assert not symmetric or grid.zero_point == 0


def test_an_error_on_the_grid_is_half_a_step_at_most() -> None:
    grid = grid_of_range(-2.0, 3.0, symmetric=False)
    x = DRAW.uniform(-1.99, 2.99, 4096).astype(np.float32)
    assert np.abs(grid.dequantize(grid.quantize(x)) - x).max() <= grid.scale * 0.5001


def test_bytes_lose_nothing() -> None:
    x = np.arange(256, dtype=np.float32)
    np.testing.assert_array_equal(BYTES.dequantize(BYTES.quantize(x)), x)


@pytest.mark.parametrize("low,high", [(float("nan"), 1.0), (-1.0, float("inf")), (2.0, 1.0)])
def test_a_range_that_is_none_is_refused(low: float, high: float) -> None:
    with pytest.raises(EdgecvxError, match="no grid covers"):
        grid_of_range(low, high, symmetric=False)


@pytest.mark.parametrize("scale,zero_point", [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1.0, 128), (1.0, -129)])
def test_a_grid_that_is_none_is_refused(scale: float, zero_point: int) -> None:
    with pytest.raises(EdgecvxError):
        Grid(scale=scale, zero_point=zero_point)


def test_each_output_channel_of_a_weight_uses_its_whole_range() -> None:
    weight = DRAW.normal(size=(5, 3, 2, 2)) * 10.0 ** np.arange(5).reshape(-1, 1, 1, 1)
    quantized = quantize_weight(weight)
    assert (np.abs(quantized.values.reshape(5, -1)).max(axis=1) == 127).all()
    error = np.abs(quantized.dequantize() - weight).reshape(5, -1).max(axis=1)
    assert (error <= quantized.scales * 0.5001).all()
    one_scale = np.full(5, weight_scales(weight).max(), np.float32)  # per tensor: the small channels are lost
    assert not quantize_weight(weight, one_scale).values[0].any()


def test_a_channel_of_zeros_stays_zero() -> None:
    quantized = quantize_weight(np.zeros((2, 3)))
    assert not quantized.values.any() and np.isfinite(quantized.scales).all() and (quantized.scales > 0).all()


def test_a_bias_counts_in_units_of_the_sums() -> None:
    bias, scales = np.array([1.0, -2.5]), np.array([0.5, 0.25], np.float32)
    np.testing.assert_array_equal(bias_int32(bias, 0.125, scales), [16, -80])
    unit = Fraction(0.125) * Fraction(0.25)
    assert Fraction(-2.5) / unit == -80


def test_a_bias_too_large_for_int32_is_told() -> None:
    with pytest.raises(EdgecvxError, match="channel 1 does not fit into int32"):
        bias_int32(np.array([0.0, 1e6]), 1e-3, np.full(2, 1e-3, np.float32))


def test_a_channel_that_is_little_but_bias_gets_a_coarser_scale() -> None:
    """A pruned channel: its scale alone is so small that no bias would fit; nobody reads its weights anyway."""
    weight, bias, input_scale = np.array([[0.5, -1.0], [0.0, 0.0]]), np.array([0.25, -3.0]), 0.02
    scales = weight_scales(weight)
    with pytest.raises(EdgecvxError, match="channel 1 does not fit"):
        bias_int32(bias, input_scale, scales)
    raised = room_for_bias(scales, bias, input_scale)
    assert raised[0] == scales[0], "where the bias fits, nothing changes"
    steps = bias_int32(bias, input_scale, raised)
    units = input_scale * raised.astype(np.float64)
    assert (np.abs(steps * units - bias) <= units / 2).all()
    assert not quantize_weight(weight, raised).values[1].any()


def test_weights_and_scales_have_to_go_together() -> None:
    with pytest.raises(EdgecvxError, match="do not go with"):
        Weight(values=np.zeros((2, 3), np.int8), scales=np.ones(3, np.float32))
