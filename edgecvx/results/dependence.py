"""How much surer many samples seem than they are, because neighbours are alike.

A machine that is warm, busy or throttled stays so for a while: turns next to each other share it, and twenty of them
tell less than twenty free ones would. How much less follows from how alike neighbours are; what a row of that many
shows of it is itself unsure, and too small on average, so it is corrected and then taken larger than it was seen.

Where neighbours are too much alike to correct for, the whole range of the turns is the interval: it holds the middle
unless all of them lie on one side of it, which twenty turns do in one measurement of twenty where neighbours correlate
by 0.9. All constants were chosen by simulation (``tools/interval_proof.py``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_IN_ROW = 10
"""Fewer tell nothing about how alike neighbours are."""
_DOUBT = 0.6
"""Standard errors by which the correlation is taken larger than it was seen."""
_TOO_ALIKE = 0.6
"""A correlation, doubt included, beyond which a row holds too few independent stretches to correct for it."""


def inflation(row: Floats) -> float | None:
    """By how much the variance of a row's mean exceeds that of independent values; None where it cannot be told.

    For neighbours that correlate by r, and those further apart by its powers, it is (1 + r) / (1 - r).

    Args:
        row: One value per turn, in the order they were made.
    """
    count, deviations = len(row), row - row.mean()
    total = float(np.square(deviations).sum())
    if total == 0:
        return 1.0
    if count < LEAST_IN_ROW:
        return None
    seen = float(deviations[1:] @ deviations[:-1]) / total
    # What is seen is too small by (1 + 3 r) / count on average: Marriott and Pope, Biometrika 41, 1954.
    correlation = (count * seen + 1) / (count - 3) + _DOUBT / math.sqrt(count)
    if correlation > _TOO_ALIKE:
        return None
    return max(1.0, (1 + correlation) / (1 - correlation))


def in_order_of_size(row: Floats) -> Floats:
    """The ranks of a row's values: one wild value then hides no likeness of the others."""
    ranks: Floats = np.argsort(np.argsort(row)).astype(np.float64)
    return ranks
