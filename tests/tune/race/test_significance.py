"""The tests a race is decided by, against exact computations and against each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgecvx.tune.race.significance import (
    below_zero,
    drop_at_most,
    holm,
    normal_quantile,
    normal_tail,
    right_at_least,
    signed_rank_tail,
    times_more,
)


@pytest.mark.parametrize("n", [1, 5, 8])
def test_the_signed_rank_tail_counts_every_sign(n: int) -> None:
    sums = [sum(r for r, on in enumerate(signs, 1) if on) for signs in itertools.product((0, 1), repeat=n)]
    for total in range(n * (n + 1) // 2 + 1):
        assert signed_rank_tail(n, total) == pytest.approx(np.mean([s <= total for s in sums]))


def test_the_signed_rank_tail_is_continued_by_the_normal_one() -> None:
    total = 101 * 102 // 4 - 600
    assert signed_rank_tail(101, total) == pytest.approx(signed_rank_tail(100, 100 * 101 // 4 - 600), rel=0.1)


def test_values_below_zero_are_found_below_zero_and_none_are_found_nowhere() -> None:
    values = -np.arange(1.0, 21.0)
    assert below_zero(values) < 1e-5
    assert below_zero(-values) > 0.99
    assert below_zero(np.zeros(0)) == 1.0


def test_the_binomial_tails_are_exact() -> None:
    stats = pytest.importorskip("scipy.stats")
    right = np.arange(200) < 185
    holds, breaks = right_at_least(right, 0.9)
    assert holds == pytest.approx(stats.binom.sf(184, 200, 0.9))
    assert breaks == pytest.approx(stats.binom.cdf(185, 200, 0.9))


def test_a_drop_is_judged_from_the_pairs() -> None:
    reference = np.ones(1000, dtype=bool)
    right = np.arange(1000) >= 2
    holds, breaks = drop_at_most(reference, right, 0.01)
    assert holds < 0.01 < 0.99 < breaks
    assert drop_at_most(reference[:0], right[:0], 0.01) == (1.0, 1.0)


def test_holm_settles_more_than_bonferroni_and_never_the_largest_alone() -> None:
    p = {"a": 0.001, "b": 0.02, "c": 0.04, "d": 0.9}
    assert holm(p, 0.05) == {"a"}
    assert holm({"a": 0.001, "b": 0.02, "c": 0.04}, 0.05) == {"a", "b", "c"}
    assert holm({"c": 0.04, "d": 0.9}, 0.05) == frozenset()


def test_holm_is_wrong_about_true_hypotheses_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    wrong = [bool(holm(dict(enumerate(draw.random(8))), 0.05)) for _ in range(2000)]
    assert np.mean(wrong) < 0.065


def test_four_times_the_data_settle_half_the_distance() -> None:
    p, needed = normal_tail(1.5), normal_tail(3.0)
    assert times_more(p, needed) == pytest.approx(4.0)
    assert times_more(0.7, needed) is None
    assert normal_tail(normal_quantile(0.025)) == pytest.approx(0.025)
