"""How far one array of outputs is from another: pure numpy, float64 inside."""

from __future__ import annotations

from collections.abc import Iterable
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
    return float(row_cosines(a, e).min()) if np.isfinite(a).all() else -1.0


def _pair(actual: Array, expected: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if actual.shape != expected.shape or actual.size == 0:
        raise EdgecvxError(f"outputs of shape {actual.shape} cannot be compared with {expected.shape}")
    e = expected.astype(np.float64)
    if not np.isfinite(e).all():
        raise EdgecvxError("the reference itself gives NaN or infinite values; the checkpoint is damaged")
    return actual.astype(np.float64), e


def row_cosines(actual: Array, expected: Array) -> NDArray[np.float64]:
    """The cosine between the two for each row of a batch; 1 where both are zero, 0 where only one is."""
    a, e = _rows(actual, expected)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(e, axis=1)
    both_zero = ~a.any(axis=1) & ~e.any(axis=1)
    cosines = (a * e).sum(axis=1) / np.where(norms == 0.0, np.inf, norms)
    return np.asarray(np.where(both_zero, 1.0, np.clip(cosines, -1.0, 1.0)))


def row_powers(actual: Array, expected: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signal and noise of each row: the sum of squares of what was expected, and of the difference."""
    a, e = _rows(actual, expected)
    return np.asarray((e * e).sum(axis=1)), np.asarray(((a - e) ** 2).sum(axis=1))


def sqnr_db(signal: float, noise: float) -> float | None:
    """Signal to (quantization) noise in decibels, from sums of squares; None where there is no noise at all.

    Every 6 dB is one bit. A signal of zero beside noise counts as the smallest one that a float can hold.
    """
    if noise == 0.0:
        return None
    return float(10.0 * np.log10(max(signal, float(np.finfo(np.float64).tiny)) / noise))


def least_sqnr(pairs: Iterable[tuple[Array, Array]]) -> float | None:
    """The smallest of several outputs' signal to noise, each over all its rows; None where none has any noise.

    Args:
        pairs: Of each output what came out, and what was expected.
    """
    powers = (row_powers(actual, expected) for actual, expected in pairs)
    found = (sqnr_db(float(signal.sum()), float(noise.sum())) for signal, noise in powers)
    return min((db for db in found if db is not None), default=None)


def row_divergences(actual: Array, expected: Array) -> NDArray[np.float64]:
    """Kullback-Leibler divergence, in nats, of two rows of logits.

    What is lost by believing ``actual``'s probabilities where ``expected``'s hold. Adding a constant to all logits of a
    row changes nothing.
    """
    a, e = (_log_softmax(rows) for rows in _rows(actual, expected))
    return np.asarray(np.maximum((np.exp(e) * (e - a)).sum(axis=1), 0.0))  # rounding alone can take it below zero


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _rows(actual: Array, expected: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, e = _pair(actual, expected)
    if not np.isfinite(a).all():
        raise EdgecvxError("the outputs hold NaN or infinite values, which have no distance from anything")
    return a.reshape(len(a), -1), e.reshape(len(e), -1)
