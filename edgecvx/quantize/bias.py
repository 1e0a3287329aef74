r"""Bias correction: what INT8 shifts on average, taken back in the bias.

A layer computes ``Wq xq`` in place of ``W x``. Its output is off by ``(Wq - W) x + Wq (xq - x)``; the mean of that over
the calibration is a constant per output channel, and a constant is what a bias is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.graph.grids import Grid, Weight
from edgecvx.quantize.estimators import rounded
from edgecvx.quantize.observed import Floats, PointStatistics

Array = NDArray[Any]


def bias_correction(weight: Array, quantized: Weight, stats: PointStatistics, grid: Grid | None = None) -> Floats:
    """What to add to a layer's bias, per output channel.

    Args:
        weight: ``[out, in / groups, ...]``, float, as it was before rounding. One group, or one per channel.
        quantized: The same in INT8.
        stats: The layer's input.
        grid: Of the input, to take back what rounding and clipping shift there; None to leave that aside.
    """
    exact, inexact = (_taps(w.astype(np.float64)) for w in (weight, quantized.dequantize()))
    shift = _applied(inexact - exact, stats.mean)
    if grid is not None:
        rows = stats.rows.astype(np.float64)
        shift = shift + _applied(inexact, (rounded(rows, grid) - rows).mean(axis=0))
    return -shift


def _taps(weight: Array) -> Floats:
    """``[out, in / groups]``: a constant meets the sum over the taps of a kernel."""
    return np.asarray(weight.reshape(*weight.shape[:2], -1).sum(axis=2), np.float64)


def _applied(taps: Floats, channels: Floats) -> Floats:
    """The layer on a picture whose channels are constant."""
    depthwise = taps.shape[1] == 1 and len(channels) != 1
    return np.asarray(taps[:, 0] * channels if depthwise else taps @ channels, np.float64)
