"""Statistics of made-up tensors, for the tests of what is decided from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecvx.quantize.observe.observed import HalfStatistics, PointStatistics


def point_of(rows: NDArray[np.float32], *, halves: int = 2) -> PointStatistics:
    """A tensor of which every pixel is in the sample, ``[N, C]``; every second one is in the second half."""
    return PointStatistics(halves=tuple(_half(rows[start::halves]) for start in range(halves)))


def _half(rows: NDArray[np.float32]) -> HalfStatistics:
    exact = rows.astype(np.float64)
    return HalfStatistics(
        pictures=len(rows),
        low=exact.min(axis=0),
        high=exact.max(axis=0),
        mean=exact.mean(axis=0),
        rows=rows,
        pixels=len(rows),
        extremes=rows[np.abs(rows).max(axis=1).argsort()[-1:]],
        alike=np.ones(1),
    )
