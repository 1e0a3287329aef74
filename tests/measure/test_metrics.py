"""A measure of closeness is worth something only if it refuses what is not close."""

from __future__ import annotations

import numpy as np
import pytest

from edgecvx.errors import EdgecvxError
from edgecvx.measure.metrics import max_error_of_range, min_cosine

EXPECTED = np.array([[0.0, 1.0, 4.0], [2.0, -1.0, 0.0]], np.float32)


def test_the_error_is_a_fraction_of_the_range() -> None:
    actual = EXPECTED.copy()
    actual[0, 1] += 0.05
    assert max_error_of_range(actual, EXPECTED) == pytest.approx(0.05 / 5.0, rel=1e-6)
    assert max_error_of_range(EXPECTED, EXPECTED) == 0.0


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_never_close(broken: float) -> None:
    actual = EXPECTED.copy()
    actual[1, 2] = broken
    assert max_error_of_range(actual, EXPECTED) == np.inf
    assert min_cosine(actual, EXPECTED) == -1.0


def test_a_constant_reference_is_matched_only_exactly() -> None:
    flat = np.ones((2, 3))
    assert max_error_of_range(flat, flat) == 0.0
    assert max_error_of_range(flat + 1e-9, flat) == np.inf


def test_the_cosine_is_that_of_the_worst_row() -> None:
    actual = EXPECTED.copy()
    actual[1] = -actual[1]
    assert min_cosine(actual, EXPECTED) == pytest.approx(-1.0)
    assert min_cosine(EXPECTED * 3, EXPECTED) == pytest.approx(1.0)
    assert min_cosine(np.zeros_like(EXPECTED), EXPECTED) == 0.0


def test_other_shapes_and_a_broken_reference_are_refused() -> None:
    with pytest.raises(EdgecvxError, match=r"shape \(3, 2\) cannot be compared"):
        max_error_of_range(EXPECTED.T, EXPECTED)
    with pytest.raises(EdgecvxError, match="the reference itself"):
        max_error_of_range(EXPECTED, np.full_like(EXPECTED, np.nan))
