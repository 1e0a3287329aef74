"""From what was seen of a tensor to the range that int8 shall cover: a wide one rounds coarsely, a narrow one clips.

- ``minmax``: everything that was seen fits.
- ``percentile``: all but the outermost values of the sample do.
- ``mse``: the range whose grid reproduces the sample with the smallest mean square error.
- ``auto``: ``minmax`` where clipping would win next to nothing, ``percentile`` where rare values would cost all others
  their resolution. ``docs/quantization.md`` has the figures behind this choice.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import one_of
from edgecvx.graph.grids import Grid, Weight, grid_of_range
from edgecvx.quantize.observe.observed import PointStatistics

Array = NDArray[Any]
Estimator = Literal["minmax", "percentile", "mse", "auto"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)

PERCENTILE = 99.999
"""Of the sample, that stays unclipped."""
WORTH = 1.25
"""How much wider the whole range must be for ``auto`` to clip: a third of a bit."""
SEARCHED = 1 << 15
"""Values that a search looks at; more change its result in the third digit."""


class ChosenRange(NamedTuple):
    """A range, and the estimator that it came from."""

    low: float
    high: float
    estimator: str


def choose_range(
    stats: PointStatistics,
    estimator: Estimator,
    *,
    symmetric: bool,
    percentile: float = PERCENTILE,
) -> ChosenRange:
    """The range of a tensor.

    Args:
        stats: What was seen of it.
        estimator: How to choose.
        symmetric: Whether the grid that will cover the range is symmetric around zero.
        percentile: For the estimator of that name.

    Raises:
        UsageError: There is no such estimator.
    """
    if estimator not in ESTIMATORS:
        raise one_of("range estimator", estimator, ESTIMATORS)
    if estimator == "minmax":
        return ChosenRange(*stats.range, "minmax")
    values = stats.rows.reshape(-1)
    if estimator != "mse":
        clipped = _percentile(values, percentile, symmetric)
        scales = [grid_of_range(*ends, symmetric=symmetric).scale for ends in (stats.range, clipped)]
        if estimator == "auto" and scales[0] < WORTH * scales[1]:
            return ChosenRange(*stats.range, "minmax")
        return ChosenRange(*clipped, "percentile")
    return ChosenRange(*_least_error(_spread(stats.rows), stats.range, symmetric), "mse")


def _percentile(values: Array, percentile: float, symmetric: bool) -> tuple[float, float]:
    """What leaves ``100 - percentile`` percent outside: of the magnitudes, or half of them on either side."""
    if symmetric:
        limit = float(np.quantile(np.abs(values), percentile / 100))
        return -limit, limit
    outside = (1 - percentile / 100) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)


def _spread(rows: Array) -> Array:
    """At most ``SEARCHED`` values, evenly from all pixels and all channels of the sample.

    A step that shares a factor with the number of channels would come back to the same channels in every pixel.
    """
    step = max(1, -(-rows.size // SEARCHED))
    while math.gcd(step, rows.shape[1]) > 1:
        step += 1
    return rows.reshape(-1)[::step].astype(np.float64)


def _least_error(values: Array, whole: tuple[float, float], symmetric: bool) -> tuple[float, float]:
    """Shrinks the whole range, both ends together first, then each alone."""
    low, high = min(whole[0], 0.0), max(whole[1], 0.0)
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    both = np.linspace(0.2, 1.0, 41)
    factors = min(both, key=lambda f: _error(values, low * f, high * f, symmetric))
    low, high = low * float(factors), high * float(factors)
    if symmetric:
        return low, high
    for _ in range(2):
        ends = np.linspace(0.6, 1.2, 13)
        low = max(min((low * float(f) for f in ends), key=lambda e: _error(values, e, high, False)), whole[0])
        high = min(min((high * float(f) for f in ends), key=lambda e: _error(values, low, e, False)), whole[1])
    return low, high


def _error(values: Array, low: float, high: float, symmetric: bool) -> float:
    grid = grid_of_range(low, high, symmetric=symmetric)
    return float(np.square(rounded(values, grid) - values).mean())


def rounded(values: Array, grid: Grid) -> Array:
    """Values as their int8 form stands for them, in the precision they come in."""
    steps = np.clip(np.rint(values / grid.scale), -128 - grid.zero_point, 127 - grid.zero_point)
    return np.asarray(steps * grid.scale)


def output_error(exact: Array, rows: Array, quantized: Weight, grid: Grid) -> float:
    """How far a 1x1 layer with INT8 input and weights is from what it should return, as a mean square.

    Args:
        exact: What it returns in float for the sampled pixels, ``[N, out]``.
        rows: The pixels, ``[N, in]``.
        quantized: Its weights.
        grid: Of its input.
    """
    inexact = rounded(rows, grid) @ quantized.dequantize().T
    return float(np.square(inexact - exact, dtype=np.float64).mean())
