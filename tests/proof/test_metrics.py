"""A measure of closeness is worth something only if it refuses what is not close."""

from __future__ import annotations

import numpy as np
import pytest

from edgecvx.errors import EdgecvxError
from edgecvx.proof.metrics import (
    max_error_of_range,
    min_cosine,
    row_cosines,
    row_divergences,
    row_powers,
    sqnr_db,
)

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


def test_each_row_has_its_own_cosine() -> None:
    actual = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    expected = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    assert row_cosines(actual, expected).tolist() == [1.0, 0.0, 1.0, 0.0]


def test_signal_to_noise_counts_every_row_of_every_shape() -> None:
    expected = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    signal, noise = row_powers(1.01 * expected, expected)
    assert signal.shape == noise.shape == (3,)
    assert sqnr_db(float(signal.sum()), float(noise.sum())) == pytest.approx(40.0)
    assert sqnr_db(1.0, 0.0) is None, "no noise is no number, in JSON least of all"
    assert np.isfinite(sqnr_db(0.0, 1.0) or np.nan)


def test_divergence_is_scipy_s_and_blind_to_a_constant() -> None:
    special = pytest.importorskip("scipy.special")
    draw = np.random.default_rng(0)
    actual, expected = 3 * draw.standard_normal((5, 10)), 3 * draw.standard_normal((5, 10))
    p, q = special.softmax(expected, axis=1), special.softmax(actual, axis=1)
    np.testing.assert_allclose(row_divergences(actual, expected), special.rel_entr(p, q).sum(1), rtol=1e-10)
    np.testing.assert_allclose(row_divergences(actual + 1e3, expected), row_divergences(actual, expected), rtol=1e-9)
    assert (row_divergences(expected + 700.0, expected) < 1e-12).all(), "and does not overflow"


def test_the_row_measures_refuse_what_is_not_finite() -> None:
    for measure in (row_cosines, row_powers, row_divergences):
        with pytest.raises(EdgecvxError, match="NaN or infinite"):
            measure(np.full_like(EXPECTED, np.inf), EXPECTED)
