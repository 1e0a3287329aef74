"""What is left of a tensor in INT8: a number that a constant, a rare pixel and an unread channel do not fool."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from lowerings import canonical
from quantized import images_of
from support import network

from edgecvx.graph.grids import Grid, grid_of_range, quantize_weight
from edgecvx.graph.values import LAYERS, array_of, name_of
from edgecvx.quantize.figures import NOTHING_LOST, Figures, decibels, matrix_of
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.observe.observed import Statistics
from edgecvx.quantize.smooth import smoothed, smoothed_weight

FC1, FC2, DEPTHWISE = (f"stages.2.blocks.0.{name}" for name in ("mlp.fc1", "mlp.fc2", "conv_dw"))


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(network(num_classes=5), size=64)


@pytest.fixture(scope="module")
def stats(graph: ir.Model) -> Statistics:
    return calibrate(graph, images_of(graph, 4))


def weights_of(graph: ir.Model) -> dict[str, np.ndarray]:
    return {name_of(n.outputs[0]): array_of(n.inputs[1]) for n in graph.graph if n.op_type in LAYERS}


def grid(stats: Statistics, point: str, wider: float = 1.0) -> Grid:
    low, high = stats[point].range
    return grid_of_range(wider * low, wider * high, symmetric=False)


def test_six_decibels_are_a_bit(graph: ir.Model, stats: Statistics) -> None:
    figures, weights = Figures(graph, stats), weights_of(graph)
    for layer in (FC1, FC2, DEPTHWISE):
        read = figures.input(layer, stats[f"{layer}.input"], weights[layer])
        returned = figures.output(layer)
        for figure, point in ((read, f"{layer}.input"), (returned, layer)):
            assert figure(grid(stats, point)) - figure(grid(stats, point, 4.0)) == pytest.approx(12, abs=2.5), point


def test_what_clips_is_seen(graph: ir.Model, stats: Statistics) -> None:
    figure = Figures(graph, stats).output(FC1)
    assert figure(grid(stats, FC1, 0.1)) < 15 < 30 < figure(grid(stats, FC1))


def test_a_constant_is_no_signal(graph: ir.Model, stats: Statistics) -> None:
    """A channel that is a thousand everywhere: the tensor's own mean square error would call it well kept."""
    weights = weights_of(graph)
    seen = stats[f"{DEPTHWISE}.input"]
    raised = np.zeros(len(seen.low))
    raised[3] = 1000.0
    far = type(seen)(
        halves=tuple(
            type(half)(
                pictures=half.pictures,
                low=half.low + raised,
                high=half.high + raised,
                mean=half.mean + raised,
                rows=(half.rows + raised).astype(np.float32),
                pixels=half.pixels,
                extremes=(half.extremes + raised).astype(np.float32),
                alike=half.alike,
            )
            for half in seen.halves
        )
    )
    figures = Figures(graph, stats)
    one = figures.input(DEPTHWISE, far, weights[DEPTHWISE])(grid_of_range(*far.range, symmetric=False))
    before = figures.input(DEPTHWISE, seen, weights[DEPTHWISE])(grid_of_range(*seen.range, symmetric=False))
    assert one < 10 < 25 < before
    rows = far.rows
    rounded = np.rint(rows / (1000 / 255)) * (1000 / 255)
    assert decibels(float(np.square(rows).sum()), float(np.square(rounded - rows).sum())) > 30


def test_smoothing_changes_the_figure_and_not_the_signal(graph: ir.Model, stats: Statistics) -> None:
    figures, weight, seen = Figures(graph, stats), weights_of(graph)[FC2], stats[f"{FC2}.input"]
    factors = np.exp2(np.arange(weight.shape[1]) % 7 - 3.0)
    worse = figures.input(FC2, smoothed(seen, factors), smoothed_weight(weight, factors))
    low, high = smoothed(seen, factors).range
    assert worse(grid_of_range(low, high, symmetric=False)) < figures.input(FC2, seen, weight)(
        grid(stats, f"{FC2}.input")
    )


def test_coarse_weights_are_seen(graph: ir.Model, stats: Statistics) -> None:
    figures = Figures(graph, stats)
    for layer, weight in weights_of(graph).items():
        seen = stats[f"{layer}.input"]
        fine = figures.weights(layer, seen, weight, quantize_weight(weight))
        scales = np.abs(weight.reshape(len(weight), -1)).max(axis=1) / 7  # four bits
        coarse = figures.weights(layer, seen, weight, quantize_weight(weight, scales.astype(np.float32)))
        assert (fine, coarse) == (NOTHING_LOST, NOTHING_LOST) if layer == "stem.0" else fine > coarse + 15, layer


def test_a_kernel_is_a_product_of_each_of_its_positions() -> None:
    kernel = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    matrix = matrix_of(kernel)
    assert matrix.shape == (8, 3)
    np.testing.assert_array_equal(matrix[1], kernel[0, :, 0, 1])
    assert decibels(1.0, 0.0) == NOTHING_LOST and decibels(100.0, 1.0) == pytest.approx(20)
