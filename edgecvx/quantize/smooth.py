r"""Smoothing (identity 5): the channels of a layer's input brought nearer to each other before they share one grid.

``W x = (W diag(s)) (diag(1/s) x)``. One scale for a whole tensor has to hold its widest channel, and the others round
coarsely; weights have a scale per *output* channel, and can take the factors of the input channels with little loss.
Before fc2 the division is free at run time: ``Grn`` is ``x * (base + gamma * N(x))``, and both constants carry it.

Which factors: ``s = a^alpha / w^(1 - alpha)``, with ``a`` and ``w`` the largest magnitudes of the channel in the
activations and in the weights. What ``alpha`` is best differs from layer to layer; it is searched, and judged by what
the layer returns in INT8 for sampled pixels. No smoothing is a candidate like the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.graph.grids import grid_of_range, quantize_weight
from edgecvx.quantize.figures import matrix_of
from edgecvx.quantize.observe.estimators import output_error
from edgecvx.quantize.observe.observed import Floats, HalfStatistics, PointStatistics

Array = NDArray[Any]

ALPHAS = tuple(round(0.1 * step, 1) for step in range(1, 11))
"""1: all channels of the activations become equally wide."""
GAIN = 0.95
"""Of the error without: a smoothing that wins less than a twentieth is luck of the sample, and is left out."""
WIDEST = 64.0
"""Factors lie within this and its inverse, so that no weight is lost."""
HARD, PAYS = 28.0, 3.0
"""Behind a LayerNorm: decibels below which smoothing is tried, and what it has to win. The demo networks have 33 there
and more, and pay for nothing."""

Judge = Callable[[PointStatistics, Array], float]


def smoothing_scales(stats: PointStatistics, weight: Array) -> Floats | None:
    """What each input channel of a layer should be divided by, and its weights multiplied by.

    Args:
        stats: The layer's input.
        weight: ``[out, in]``, further dimensions of 1; float.

    Returns:
        Factors ``[in]``, or None if the layer is as good without.
    """
    matrix = weight.reshape(len(weight), -1)
    candidates = [np.ones(matrix.shape[1]), *(_factors(stats, matrix, alpha) for alpha in ALPHAS)]
    exact = stats.rows @ matrix.T
    errors = [_error(exact, smoothed(stats, s), smoothed_weight(matrix, s)) for s in candidates]
    best = int(np.argmin(errors))
    return candidates[best] if errors[best] < GAIN * errors[0] else None


def smoothing_behind_norm(stats: PointStatistics, weight: Array, judge: Judge) -> Floats | None:
    """The same for a layer behind a LayerNorm, where the division is one more multiplication per pixel and channel.

    So it is done only where int8 holds the layer badly without, and much better with it: a LayerNorm makes all channels
    alike, unless the kernels before it are not.

    Args:
        stats: The layer's input.
        weight: Its weights.
        judge: What is left of an input and the weights that go with it, in dB: the smaller of the two.
    """
    before = judge(stats, weight)
    if before >= HARD:
        return None
    matrix = matrix_of(weight)
    candidates = [_factors(stats, matrix, alpha) for alpha in ALPHAS]
    after = [judge(smoothed(stats, s), smoothed_weight(weight, s)) for s in candidates]
    best = int(np.argmax(after))
    return candidates[best] if after[best] >= before + PAYS else None


def smoothed(stats: PointStatistics, scales: Floats) -> PointStatistics:
    """What would have been seen of a tensor divided by ``scales`` per channel."""
    halves = (
        HalfStatistics(
            pictures=half.pictures,
            low=half.low / scales,
            high=half.high / scales,
            mean=half.mean / scales,
            rows=(half.rows / scales).astype(np.float32),
            pixels=half.pixels,
            extremes=(half.extremes / scales).astype(np.float32),
            alike=half.alike,
        )
        for half in stats.halves
    )
    return PointStatistics(halves=tuple(halves))


def smoothed_weight(weight: Array, scales: Floats) -> NDArray[np.float32]:
    """The weights that go with an input divided by ``scales``."""
    return np.asarray(weight * scales.reshape(1, -1, *[1] * (weight.ndim - 2)), np.float32)


def _factors(stats: PointStatistics, matrix: Array, alpha: float) -> Floats:
    """Normalized to a geometric mean of 1: what all channels share, their scale takes up anyway."""
    widths = np.maximum(-stats.low, stats.high)
    weights = np.abs(matrix).max(axis=0).astype(np.float64)
    alive = (widths > 0) & (weights > 0)
    if not alive.any():
        return np.ones(len(widths))
    logs = np.zeros(len(widths))
    logs[alive] = alpha * np.log(widths[alive]) - (1 - alpha) * np.log(weights[alive])
    logs[alive] -= logs[alive].mean()
    return np.clip(np.exp(logs), 1 / WIDEST, WIDEST)


def _error(exact: Array, stats: PointStatistics, matrix: Array) -> float:
    """Of the layer's output in INT8, summed over both kinds of grids, as a plan holds them."""
    grids = [grid_of_range(*stats.range, symmetric=kind) for kind in (True, False)]
    return sum(output_error(exact, stats.rows, quantize_weight(matrix), grid) for grid in grids)
