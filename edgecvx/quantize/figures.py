r"""What is left of a tensor in INT8: signal over noise in decibels, where the next product reads it.

A mean square error of a tensor says little. A residual channel that is a thousand everywhere is most of its energy and
carries no information; a channel that the next layer hardly looks at may be rounded to nothing. So both sides are taken
through what comes next:

- the signal is the *variance* over pixels and pictures of what the next product returns, each output's outermost
  percent cut off, so that neither constants nor rare pixels count for it;
- the noise is what rounding and clipping do to that, over the sampled pixels, and over the extreme ones for as many as
  there are of them.

What a depthwise convolution reads or returns is looked at behind the LayerNorm, through fc1; what fc1 or the activation
return, through GRN and fc2. The errors of the pixels under a depthwise kernel are taken as independent. What goes into
the residual sum is looked at as it is.

On the demo networks a tensor that has ``x`` dB here costs the logits as much as noise ``x + 20`` dB below them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.graph.grids import Grid, Weight
from edgecvx.graph.scheme import ACTIVATION, Role, role_of
from edgecvx.graph.values import LAYERS, array_of, name_of
from edgecvx.quantize.observe.estimators import rounded
from edgecvx.quantize.observe.observed import PointStatistics, Statistics

Array = NDArray[Any]
Figure = Callable[[Grid], float]
"""What is left on a grid, in dB."""

OUTERMOST = 0.01
"""The part of a signal's values, at either end, that does not count."""
NOTHING_LOST = 99.0
"""More decibels than anybody asks for: where nothing is rounded."""


class Figures:
    """The tensors of one canonical graph, as a calibration saw them.

    Args:
        graph: The canonical graph.
        stats: What was seen of it.
    """

    def __init__(self, graph: ir.Model, stats: Statistics) -> None:
        layers = [node for node in graph.graph if node.op_type in LAYERS]
        self._weights: Mapping[str, Array] = {name_of(n.outputs[0]): array_of(n.inputs[1]) for n in layers}
        self._stats = stats
        self._signals: dict[str, float] = {}

    def input(self, layer: str, seen: PointStatistics, weight: Array) -> Figure:
        """Of what a layer reads.

        Args:
            layer: By its canonical name.
            seen: Its input, smoothed or not.
            weight: Its weights, that go with it.
        """
        rows, share = seen.weighted
        if role_of(layer) is Role.DEPTHWISE:
            return functools.cache(
                lambda grid: self._behind_kernel(layer, share @ np.square(rounded(rows, grid) - rows), weight)
            )
        matrix = matrix_of(weight).T
        return functools.cache(
            lambda grid: decibels(self._signal(layer), _mean(share, (rounded(rows, grid) - rows) @ matrix))
        )

    def weights(self, layer: str, seen: PointStatistics, weight: Array, quantized: Weight) -> float:
        """Of a layer's weights, whose mean error a bias could take back and so does not count."""
        change = quantized.dequantize() - weight
        if role_of(layer) is Role.DEPTHWISE:
            return self._behind_kernel(layer, seen.rows.var(axis=0), change)
        if role_of(layer) is Role.STEM:
            return NOTHING_LOST
        error = seen.rows @ matrix_of(change).T
        return decibels(self._signal(layer), float(error.var(axis=0).sum()))

    def output(self, layer: str) -> Figure:
        """Of what a layer returns."""
        rows, share = self._stats[layer].weighted
        role = role_of(layer)
        if role is Role.DEPTHWISE:
            return self._behind_norm(layer.removesuffix(".conv_dw") + ".mlp.fc1", rows, share)
        if role is Role.FC1:
            return self._behind_grn(layer.removesuffix(".fc1") + ".act", rows, share, _gelu)
        signal = _information(self._stats[layer].rows)
        return functools.cache(lambda grid: decibels(signal, _mean(share, rounded(rows, grid) - rows)))

    def activation(self, name: str) -> Figure:
        """Of what an activation function returns."""
        rows, share = self._stats[name].weighted
        return self._behind_grn(name, rows, share, lambda values: values)

    def _behind_norm(self, fc1: str, rows: Array, share: Array) -> Figure:
        """Of what a depthwise convolution returns: through the LayerNorm, its deviation as it was, and fc1."""
        deviation = np.maximum(rows.std(axis=1, keepdims=True), 1e-6)
        matrix = matrix_of(self._weights[fc1]).T

        def left(grid: Grid) -> float:
            error = (rounded(rows, grid) - rows) / deviation
            error -= error.mean(axis=1, keepdims=True)
            return decibels(self._signal(fc1), _mean(share, error @ matrix))

        return functools.cache(left)

    def _behind_grn(self, act: str, rows: Array, share: Array, function: Callable[[Array], Array]) -> Figure:
        """Of what the activation function reads or returns: through GRN, on average, and fc2."""
        fc2 = act.removesuffix(ACTIVATION) + ".mlp.fc2"
        before, behind = (np.square(self._stats[point].rows).mean(axis=0) for point in (act, f"{fc2}.input"))
        matrix = (matrix_of(self._weights[fc2]) * np.sqrt(behind / np.maximum(before, 1e-12))).T
        exact = function(rows)
        return functools.cache(
            lambda grid: decibels(self._signal(fc2), _mean(share, (function(rounded(rows, grid)) - exact) @ matrix))
        )

    def _behind_kernel(self, layer: str, energy: Array, kernel: Array) -> float:
        """Errors of this mean square per channel, under a depthwise kernel, behind the norm, through fc1."""
        fc1 = layer.removesuffix(".conv_dw") + ".mlp.fc1"
        deviation = np.maximum(self._stats[layer].rows.var(axis=1), 1e-12)
        read = _energy(matrix_of(self._weights[fc1]).T)
        noise = energy * _energy(kernel.reshape(len(kernel), -1)) * read
        return decibels(self._signal(fc1), float(noise.sum() * np.mean(1.0 / deviation)))

    def _signal(self, layer: str) -> float:
        """What a product returns of information, per pixel."""
        if layer not in self._signals:
            rows = self._stats[f"{layer}.input"].rows
            self._signals[layer] = _information(rows @ matrix_of(self._weights[layer]).T)
        return self._signals[layer]


def matrix_of(weight: Array) -> Array:
    """A layer's weights as a product's, ``[out, in]``; those of a kernel one position after the other."""
    if weight.ndim == 2:
        return weight
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1).reshape(-1, weight.shape[1]))


def decibels(signal: float, noise: float) -> float:
    """How far one is above the other."""
    if noise <= 0 or signal <= 0:
        return NOTHING_LOST
    return min(NOTHING_LOST, 10 * math.log10(signal / noise))


def _information(values: Array) -> float:
    low, high = np.quantile(values, [OUTERMOST, 1 - OUTERMOST], axis=0)
    return float(np.clip(values, low, high).var(axis=0).sum())


def _mean(share: Array, errors: Array) -> float:
    """The energy of a pixel's error, on average."""
    return float(share @ _energy(errors))


def _energy(values: Array) -> Array:
    """The sum of squares of each row."""
    return np.asarray(np.square(values).sum(axis=1))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))))
