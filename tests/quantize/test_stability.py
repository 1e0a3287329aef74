"""Whether two halves of a calibration agree, and what is said where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from calibrated import point_of
from numpy.typing import NDArray

from edgecvx.quantize.observe.observed import PointStatistics, Statistics
from edgecvx.quantize.trust import ratio, stability, stability_warning


def statistics(**points: PointStatistics) -> Statistics:
    return Statistics(pictures=2, points=points)


def rows(width: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    return (width * np.random.default_rng(seed).uniform(-1, 1, (512, 8))).astype(np.float32)


def halves(first: NDArray[np.float32], second: NDArray[np.float32]) -> PointStatistics:
    return PointStatistics(halves=(*point_of(first, halves=1).halves, *point_of(second, halves=1).halves))


def test_halves_of_one_kind_agree() -> None:
    agreement = stability(statistics(a=point_of(rows()), b=point_of(rows(5.0, seed=1))))
    assert agreement is not None and agreement.worst < 1.01
    assert stability_warning(agreement) is None


def test_a_tensor_that_depends_on_the_half_is_named() -> None:
    stats = statistics(good=point_of(rows()), bad=halves(rows(1.0), rows(3.0)), fine=point_of(rows()))
    agreement = stability(stats)
    assert agreement is not None and agreement.tensor == "bad"
    assert agreement.worst == pytest.approx(3.0, rel=0.02) and agreement.median < 1.01
    told = stability_warning(agreement)
    assert told is not None and "'bad'" in told and "3.0 times" in told


def test_one_picture_has_no_halves() -> None:
    assert stability(statistics(a=point_of(rows(), halves=1))) is None
    assert stability_warning(None) is None


def test_a_ratio_is_finite_and_never_below_one() -> None:
    assert ratio(0.0, 0.0) == 1.0 and ratio(2.0, 1.0) == ratio(1.0, 2.0) == 2.0
    assert ratio(0.0, 5.0) == pytest.approx(1000.0)
