r"""Bias correction: what INT8 shifts on average, taken back in the bias.

A layer computes ``Wq x`` in place of ``W x``. Its output is off by ``(Wq - W) x``; the mean of that over the
calibration is a constant per output channel, and a constant is what a bias is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.graph.grids import Weight
from edgecvx.quantize.observe.observed import Floats, PointStatistics

Array = NDArray[Any]


def bias_correction(weight: Array, quantized: Weight, stats: PointStatistics) -> Floats:
    """What to add to a layer's bias, per output channel.

    Args:
        weight: ``[out, in / groups, ...]``, float, as it was before rounding. One group, or one per channel.
        quantized: The same in INT8.
        stats: The layer's input.
    """
    exact, inexact = (_taps(w.astype(np.float64)) for w in (weight, quantized.dequantize()))
    taps, channels = inexact - exact, stats.mean
    depthwise = taps.shape[1] == 1 and len(channels) != 1
    return -np.asarray(taps[:, 0] * channels if depthwise else taps @ channels, np.float64)


def _taps(weight: Array) -> Floats:
    """``[out, in / groups]``: a constant meets the sum over the taps of a kernel."""
    return np.asarray(weight.reshape(*weight.shape[:2], -1).sum(axis=2), np.float64)
