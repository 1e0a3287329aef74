"""Whether a calibration would have come out the same with other pictures: two halves of them, compared."""

from __future__ import annotations

import numpy as np

from edgecvx.quantize.observed import HalfStatistics, Statistics
from edgecvx.quantize.plan import Agreement

DISAGREE = 2.0
"""Ratio of two halves' ranges from which on a user is told: one of the eight bits depends on who was in the set."""


def stability(stats: Statistics) -> Agreement | None:
    """How well the two halves of the calibration pictures agree on the ranges; None for a single picture."""
    ratios = {
        name: ratio(_width(point.halves[0]), _width(point.halves[1]))
        for name, point in stats.points.items()
        if len(point.halves) == 2
    }
    if not ratios:
        return None
    tensor = max(ratios, key=lambda name: ratios[name])
    return Agreement(worst=ratios[tensor], tensor=tensor, median=float(np.median(list(ratios.values()))))


def stability_warning(agreement: Agreement | None) -> str | None:
    """The sentence for a user, if there is something to tell."""
    if agreement is None or agreement.worst < DISAGREE:
        return None
    return (
        f"two halves of the calibration pictures disagree: at {agreement.tensor!r} one gives a range "
        f"{agreement.worst:.1f} times the other's (half of all tensors differ by at least {agreement.median:.2f}); "
        "take more pictures, or more varied ones"
    )


def ratio(a: float, b: float) -> float:
    """How many times the smaller the larger is; tensors that are zero in both halves agree."""
    if a == b:
        return 1.0
    return max(a, b) / max(min(a, b), 1e-3 * max(a, b))  # a half without a single value counts as a thousandth


def _width(half: HalfStatistics) -> float:
    """Of the grid that half would ask for."""
    return float(max(half.high.max(), 0.0) - min(half.low.min(), 0.0))
