"""How sure one can be: held against scipy and statsmodels, and against thousands of simulated validations."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest

from edgecvx.errors import UsageError
from edgecvx.results.accuracy import Interval, Verdict
from edgecvx.results.intervals import (
    Z95,
    compare,
    gate,
    judge,
    mcnemar_p,
    paired_interval,
    pictures_needed,
    wilson,
)

stats = pytest.importorskip("scipy.stats")


def verdict(pictures: int, reference: int, lost: int, gained: int, **rule: float) -> Verdict:
    """The verdict over so many pictures, of which the reference gets ``reference`` right."""
    of_reference = np.arange(pictures) < reference
    of_artifact = of_reference.copy()
    of_artifact[:lost] = False
    of_artifact[pictures - gained :] = True
    return judge(compare(of_reference, of_artifact, top=1), gate(**rule))


@pytest.mark.parametrize(("correct", "pictures"), [(0, 10), (1, 10), (180, 200), (1999, 2000), (50_000, 50_000)])
def test_wilson_is_statsmodels_wilson(correct: int, pictures: int) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    low, high = proportion.proportion_confint(correct, pictures, method="wilson")
    mine = wilson(correct, pictures)
    assert (mine.low, mine.high) == pytest.approx((low, high), abs=1e-12)  # one closed formula, rounded twice


def test_z_is_the_normal_quantile() -> None:
    assert pytest.approx(stats.norm.ppf(0.975), rel=1e-15) == Z95


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 1), (1, 0), (3, 11), (40, 12), (7, 7), (0, 30), (900, 700), (12_000, 11_800)]
)
def test_mcnemar_is_the_exact_binomial_test_with_half_of_the_table_seen(lost: int, gained: int) -> None:
    flips, fewer = lost + gained, min(lost, gained)
    exact = stats.binomtest(fewer, flips).pvalue
    expected = 1.0 if lost == gained else exact - stats.binom.pmf(fewer, flips, 0.5)
    assert mcnemar_p(lost, gained) == pytest.approx(expected, rel=1e-8)  # log-gammas of thousands keep eight digits


@pytest.mark.parametrize(("lost", "gained"), [(3, 11), (40, 12), (0, 6)])
def test_mcnemar_is_statsmodels_exact_test_less_half_a_table(lost: int, gained: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    exact = tables.mcnemar([[100, lost], [gained, 20]], exact=True).pvalue
    assert mcnemar_p(lost, gained) == pytest.approx(exact - math.comb(lost + gained, lost) / 2 ** (lost + gained))


def test_without_flips_there_is_no_evidence_of_a_difference() -> None:
    assert mcnemar_p(0, 0) == 1.0


@pytest.mark.parametrize(
    ("lost", "gained", "pictures"), [(0, 0, 300), (2, 0, 2000), (50, 10, 2000), (0, 1, 44), (15, 10, 50), (5, 5, 10)]
)
def test_the_interval_ends_where_the_constrained_score_test_rejects(lost: int, gained: int, pictures: int) -> None:
    """Tango's interval by its definition: the likelihood under each difference is maximized by search, not formula."""
    optimize = pytest.importorskip("scipy.optimize")

    def z(delta: float) -> float:
        def unlikely(rate_lost: float) -> float:
            rates = rate_lost, rate_lost + delta, 1 - 2 * rate_lost - delta
            counts = lost, gained, pictures - lost - gained
            return -sum(n * math.log(p) for n, p in zip(counts, rates, strict=True) if n)

        low, high = max(0.0, -delta), (1 - delta) / 2
        rate = optimize.minimize_scalar(
            unlikely, bounds=(low + 1e-14, high - 1e-14), method="bounded", options={"xatol": 1e-13}
        ).x
        rate = low if lost == 0 and unlikely(low + 1e-14) <= unlikely(rate) else rate
        variance = (2 * rate + delta - delta**2) / pictures
        return ((gained - lost) / pictures - delta) / math.sqrt(variance)

    interval = paired_interval(lost, gained, pictures)
    # The search knows a flat maximum to about 1e-7 of a rate, which is 1e-4 of a z here.
    assert z(interval.low) == pytest.approx(1.959964, abs=2e-3)
    assert z(interval.high) == pytest.approx(-1.959964, abs=2e-3)


def test_lost_and_gained_mirror_each_other() -> None:
    one, other = paired_interval(30, 7, 1000), paired_interval(7, 30, 1000)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


def test_no_flips_do_not_mean_no_doubt() -> None:
    """The rule of three and its kin: nothing seen in n pictures still allows for a few in n."""
    interval = paired_interval(0, 0, 300)
    assert -0.013 < interval.low < -3 / 300 and interval.high == pytest.approx(-interval.low)


def test_every_picture_flipped_is_no_crash() -> None:
    assert paired_interval(10, 0, 10).low == -1.0
    assert paired_interval(0, 10, 10).high == 1.0


def coverage(pictures: int, rate_lost: float, rate_gained: float, runs: int = 2000) -> float:
    """How often the interval holds the truth, over simulated validations."""
    draw = np.random.default_rng((pictures, round(1e6 * rate_lost), round(1e6 * rate_gained)))
    tables = draw.multinomial(pictures, [rate_lost, rate_gained, 1 - rate_lost - rate_gained], size=runs)
    interval = functools.cache(lambda lost, gained: paired_interval(lost, gained, pictures))
    truth = rate_gained - rate_lost
    found = [interval(int(lost), int(gained)) for lost, gained, _ in tables]
    return float(np.mean([i.low <= truth <= i.high for i in found]))


def exact_coverage(pictures: int, rate_lost: float, rate_gained: float) -> float:
    """The same without chance: the weight of all tables whose interval holds the truth."""
    table = stats.multinomial(pictures, [rate_lost, rate_gained, 1 - rate_lost - rate_gained])
    most = [int(stats.binom.ppf(1 - 1e-7, pictures, rate)) for rate in (rate_lost, rate_gained)]
    truth, held = rate_gained - rate_lost, 0.0
    for lost, gained in itertools.product(range(most[0] + 1), range(most[1] + 1)):
        interval = paired_interval(lost, gained, pictures)
        if interval.low <= truth <= interval.high:
            held += float(table.pmf([lost, gained, pictures - lost - gained]))
    return held


# Pictures, rate lost, rate gained; from four expected flips to two hundred.
SIMULATED = [
    (100, 0.03, 0.01),
    (2000, 0.001, 0.001),
    (2000, 0.002, 0.001),
    (300, 0.01, 0.01),
    (300, 0.02, 0.005),
    (2000, 0.01, 0.01),
    (2000, 0.03, 0.01),
    (5000, 0.005, 0.002),
    (200, 0.15, 0.05),
]


@pytest.mark.parametrize(("pictures", "rate_lost", "rate_gained"), SIMULATED)
def test_the_interval_covers_the_truth_in_95_of_100_validations(
    pictures: int, rate_lost: float, rate_gained: float
) -> None:
    assert 0.93 <= coverage(pictures, rate_lost, rate_gained) <= 0.97


@pytest.mark.parametrize(
    ("pictures", "rate_lost", "rate_gained"),
    [(300, 0.01, 0.0), (1000, 0.002, 0.001), (1000, 0.005, 0.0), (1000, 0.005, 0.002), (2000, 0.002, 0.0)],
)
def test_it_still_does_where_a_handful_of_flips_is_all_there_is(
    pictures: int, rate_lost: float, rate_gained: float
) -> None:
    """The hardest cases found, too close to 93% or 97% for a simulation to tell: computed exactly."""
    assert 0.93 <= exact_coverage(pictures, rate_lost, rate_gained) <= 0.97


@pytest.mark.parametrize(("pictures", "rate_lost", "rate_gained"), [(300, 0.001, 0.0), (1000, 0.001, 0.0005)])
def test_with_hardly_a_flip_it_promises_too_little_rather_than_too_much(
    pictures: int, rate_lost: float, rate_gained: float
) -> None:
    """Zero, one or two flips are too coarse for 95%; Wald's interval covers 26% and 77% here."""
    assert coverage(pictures, rate_lost, rate_gained) >= 0.95


def test_the_simulation_rejects_an_interval_that_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def wald(lost: float, gained: float, pictures: float) -> Interval:
        delta = (gained - lost) / pictures
        half = Z95 * math.sqrt(lost + gained - (lost - gained) ** 2 / pictures) / pictures
        return Interval(low=delta - half, high=delta + half)

    monkeypatch.setitem(globals(), "paired_interval", wald)
    assert coverage(1000, 0.005, 0.0) < 0.93


def test_a_drop_of_two_points_fails() -> None:
    assert verdict(2000, 1800, lost=50, gained=10).kind == "fail"
    assert verdict(2000, 1800, lost=50, gained=10, max_drop=1.0).kind == "fail"


def test_a_drop_of_a_tenth_of_a_point_on_300_pictures_is_undecided() -> None:
    for lost in (0, 1):  # 0.1 points are 0.3 pictures
        found = verdict(300, 270, lost=lost, gained=0)
        assert found.kind == "undecided"
        assert found.pictures_needed is not None and found.pictures_needed > 300


def test_simulated_drops_are_judged_as_they_are() -> None:
    """Two points over 2,000 pictures: mostly failed, never passed. A tenth over 300: mostly undecided, never failed."""
    draw = np.random.default_rng(0)
    two_points = [
        verdict(2000, 1800, int(b), int(c)).kind for b, c, _ in draw.multinomial(2000, [0.025, 0.005, 0.97], 200)
    ]
    assert two_points.count("fail") > 160 and "pass" not in two_points
    a_tenth = [verdict(300, 270, int(b), int(c)).kind for b, c, _ in draw.multinomial(300, [0.004, 0.003, 0.993], 200)]
    assert a_tenth.count("undecided") > 160 and "fail" not in a_tenth


def test_a_file_that_flips_two_of_2000_passes() -> None:
    assert verdict(2000, 1800, lost=2, gained=0).kind == "pass"
    assert verdict(2000, 1900, lost=0, gained=0).kind == "pass"


def test_a_better_file_passes() -> None:
    assert verdict(2000, 1800, lost=5, gained=30, min_ratio=1.0).kind == "pass"


def test_the_gate_is_a_ratio_or_points() -> None:
    # 1% of a reference that gets half right is half a point.
    assert verdict(1000, 500, 0, 0, min_ratio=0.99).allowed_drop == pytest.approx(0.005)
    assert verdict(1000, 500, 0, 0, max_drop=0.7).allowed_drop == pytest.approx(0.007)


@pytest.mark.parametrize("rule", [{"min_ratio": 0.0}, {"min_ratio": 1.1}, {"max_drop": -1.0}, {"max_drop": math.nan}])
def test_a_gate_without_sense_is_refused(rule: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="does not work"):
        gate(**rule)


def test_two_gates_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        gate(min_ratio=0.99, max_drop=1.0)


def test_the_number_of_pictures_needed_does_decide_and_half_of_it_does_not() -> None:
    needed = pictures_needed(3, 1, 300, 0.01)
    assert needed is not None
    for n, decided in ((needed, True), (needed // 2, False)):
        interval = paired_interval(3 * n / 300, n / 300, n)
        assert (interval.low >= -0.01 or interval.high < -0.01) == decided


def test_on_the_gate_itself_no_number_of_pictures_decides() -> None:
    assert pictures_needed(20, 10, 1000, 0.01) is None
    found = verdict(1000, 1000, lost=10, gained=0, max_drop=1.0)
    assert found.kind == "undecided" and "no number of pictures" in found.reason


def test_pictures_that_are_not_the_same_cannot_be_paired() -> None:
    with pytest.raises(UsageError, match="the same pictures"):
        compare(np.ones(3, bool), np.ones(4, bool), top=1)
    with pytest.raises(UsageError, match="at least one"):
        compare(np.ones(0, bool), np.ones(0, bool), top=1)
