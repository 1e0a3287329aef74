"""How far one array of outputs is from another: pure numpy, float64 inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError

Array = NDArray[Any]


def max_error_of_range(actual: Array, expected: Array) -> float:
    """The largest difference, as a fraction of the range (largest minus smallest) of what was expected.

    Infinite where ``actual`` holds anything but finite numbers, so that a broken output never compares as close.
    """
    a, e = _pair(actual, expected)
    if not np.isfinite(a).all():
        return float("inf")
    spread = float(e.max() - e.min())
    worst = float(np.abs(a - e).max())
    if spread == 0.0:
        return 0.0 if worst == 0.0 else float("inf")
    return worst / spread


def min_cosine(actual: Array, expected: Array) -> float:
    """The smallest cosine between the two over the rows of a batch; -1 where ``actual`` is not finite."""
    a, e = _pair(actual, expected)
    if not np.isfinite(a).all():
        return -1.0
    a, e = a.reshape(len(a), -1), e.reshape(len(e), -1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(e, axis=1)
    both_zero = (norms == 0.0) & ~a.any(axis=1) & ~e.any(axis=1)
    cosines = np.where(both_zero, 1.0, (a * e).sum(axis=1) / np.where(norms == 0.0, np.inf, norms))
    return float(cosines.min())


def _pair(actual: Array, expected: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if actual.shape != expected.shape or actual.size == 0:
        raise EdgecvxError(f"outputs of shape {actual.shape} cannot be compared with {expected.shape}")
    e = expected.astype(np.float64)
    if not np.isfinite(e).all():
        raise EdgecvxError("the reference itself gives NaN or infinite values; the checkpoint is damaged")
    return actual.astype(np.float64), e
