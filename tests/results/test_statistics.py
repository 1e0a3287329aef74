"""What is said of times: held against scipy, and against thousands of simulated machines that drift and stutter."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import scripted
from numpy.typing import NDArray

from edgecvx.results import statistics
from edgecvx.results.accuracy import Interval
from edgecvx.results.latency import Ratio, Turn

stats = pytest.importorskip("scipy.stats")

Floats = NDArray[np.float64]


def turns(*samples: list[int], yardstick: int | None = None) -> list[Turn]:
    """A turn a round."""
    return [
        Turn(round=i, started=float(i), samples_ns=tuple(ns), parts_ns={}, yardstick_ns=yardstick)
        for i, ns in enumerate(samples)
    ]


# Percentiles.


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 1000])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_a_percentile_is_a_time_that_was_measured(n: int, q: float) -> None:
    """The nearest-rank one, as numpy calls it the inverted distribution function."""
    samples = np.random.default_rng(n).uniform(1, 2, n)
    found = statistics.percentile([samples], q).ms
    assert found in samples
    assert found == np.quantile(samples, q, method="inverted_cdf")


@pytest.mark.parametrize(("q", "enough"), [(q, n) for q, n in statistics.ENOUGH.items() if q > 0.5])
def test_a_percentile_is_given_once_two_samples_lie_beyond_it(q: float, enough: int) -> None:
    """With 99% certainty, and from the very first number of samples for which that is so."""
    assert stats.binom.cdf(1, enough, 1 - q) <= 0.01 < stats.binom.cdf(1, enough - 1, 1 - q)


@pytest.mark.parametrize(
    ("runs", "given"),
    [(40, [0.5]), (63, [0.5]), (64, [0.5, 0.9]), (130, [0.5, 0.9, 0.95]), (662, [0.5, 0.9, 0.95, 0.99])],
)
def test_forty_samples_give_no_p90(runs: int, given: list[float]) -> None:
    found = statistics.summary(turns(list(range(1, runs + 1))), batch=1)
    assert found is not None
    assert [p.q for p in found.percentiles] == given


def test_an_outlier_stays_visible() -> None:
    found = statistics.summary(turns([1_000_000] * 199 + [90_000_000]), batch=1)
    assert found is not None
    assert (found.max, found.percentiles[0].ms, found.samples) == (90.0, 1.0, 200)
    assert found.mean == pytest.approx(1.445)


def test_throughput_is_pictures_over_all_of_the_time() -> None:
    """Slow runs count: a median would promise more pictures than a second holds."""
    found = statistics.summary(turns([10_000_000, 10_000_000, 40_000_000]), batch=8)
    assert found is not None
    assert found.per_second == pytest.approx(8 * 1000 / 20)


@pytest.mark.parametrize(("n", "q"), list(itertools.product([6, 20, 73, 200, 1000, 20_000], [0.5, 0.9, 0.99])))
def test_ranks_are_those_of_the_binomial(n: int, q: float) -> None:
    found = statistics.ranks(n, q)
    if found is None:
        assert stats.binom.cdf(n - 1, n, q) < 0.975 or stats.binom.cdf(0, n, q) > 0.025
        return
    low, high = found
    assert stats.binom.cdf(low - 1, n, q) <= 0.025 < stats.binom.cdf(low, n, q)
    assert stats.binom.sf(high - 1, n, q) <= 0.025 < stats.binom.sf(high - 2, n, q)


@pytest.mark.parametrize("freedom", [3, 9, 19, 99])
def test_students_t_is_close_enough(freedom: int) -> None:
    assert statistics._student95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def simulated_turns(rng: np.random.Generator, rounds: int, runs: int, shared: float) -> list[Floats]:
    """Turns whose runs share their luck, with a floor and a tail without a variance."""
    return [1 + shared * rng.standard_normal() + 0.05 * np.abs(rng.standard_t(2, runs)) for _ in range(rounds)]


def coverage(q: float, rounds: int, runs: int, shared: float, times: int = 500) -> float:
    """How often the interval holds the true percentile; where there is none, nothing wrong was said."""
    rng = np.random.default_rng(round(1000 * shared) + runs)
    endless = 1 + shared * rng.standard_normal(400_000) + 0.05 * np.abs(rng.standard_t(2, 400_000))
    truth = float(np.quantile(endless, q))
    held = 0
    for _ in range(times):
        found = statistics.percentile(simulated_turns(rng, rounds, runs, shared), q).interval
        held += found is None or found.low <= truth <= found.high
    return held / times


@pytest.mark.parametrize(("rounds", "runs"), [(20, 10), (20, 40), (4, 50)])
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_the_interval_of_a_percentile_covers_what_it_says(rounds: int, runs: int, q: float) -> None:
    assert coverage(q, rounds, runs, 0.0) >= 0.93


@pytest.mark.parametrize("shared", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_it_also_does_when_the_runs_of_a_turn_have_much_in_common(shared: float, q: float) -> None:
    assert coverage(q, 20, 20, shared) >= 0.93


def test_the_design_effect_is_what_makes_it_so() -> None:
    """Without it, a median of 200 runs that share 20 fates would be three times surer than it may be."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        ordered = np.sort(np.concatenate(simulated_turns(rng, 20, 10, 0.05)))
        low, high = statistics.ranks(200, 0.5) or (0, 0)
        held += ordered[low - 1] <= 1.0408 <= ordered[high - 1]  # the median of that distribution is close to this
    assert held / 300 < 0.8


# Ratios.

ratio = functools.partial(statistics.ratio, names=("b", "a"))


@pytest.mark.parametrize("n", range(1, 13))
def test_the_signed_rank_quantile_is_that_of_all_signs(n: int) -> None:
    sums = [sum(r for r, plus in zip(range(1, n + 1), signs, strict=True) if plus) for signs in signs_of(n)]
    w = statistics.signed_rank_quantile(n)
    assert sum(s <= w for s in sums) <= 0.025 * len(sums) < sum(s <= w + 1 for s in sums)


def signs_of(n: int) -> list[tuple[bool, ...]]:
    return list(itertools.product((False, True), repeat=n))


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 4), (5, 7), (8, 8)])
def test_the_rank_sum_quantile_is_that_of_all_orders(m: int, n: int) -> None:
    below = [sum(i - k for k, i in enumerate(places)) for places in itertools.combinations(range(m + n), m)]
    u = statistics.rank_sum_quantile(m, n)
    assert sum(b <= u for b in below) <= 0.025 * len(below) < sum(b <= u + 1 for b in below)


def test_beyond_a_hundred_rounds_the_normal_takes_over_without_a_step() -> None:
    mean, deviation = 101 * 102 / 4, math.sqrt(101 * 102 * 203 / 24)
    exact = statistics.signed_rank_quantile(100) / (100 * 101 / 4)
    assert statistics.signed_rank_quantile(101) == int(mean - 1.959963984540054 * deviation)
    assert statistics.signed_rank_quantile(101) / mean == pytest.approx(exact, rel=0.01)


def test_a_ratio_is_taken_round_by_round() -> None:
    """Two files of which one takes 1.2 times as long, on a machine that becomes ten times slower on the way."""
    against = {r: 10.0 * (1 + r) for r in range(10)}
    found = ratio({r: 1.2 * ms for r, ms in against.items()}, against)
    assert found is not None
    assert found.interval is not None
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((1.2, 1.2, 1.2))
    assert (found.of, found.against, found.rounds) == ("b", "a", 10)


def test_a_ratio_over_few_rounds_has_no_interval() -> None:
    seven, eight = (dict.fromkeys(range(n), 1.0) for n in (7, statistics.LEAST_ROUNDS))
    few, enough = ratio(seven, seven), ratio(eight, eight)
    assert few is not None
    assert few.interval is None
    assert enough is not None
    assert enough.interval == Interval(low=1.0, high=1.0)
    assert ratio({0: 1.0}, {1: 1.0}) is None


def simulated_ratio(seed: int, slower: float, rounds: int = 20) -> Ratio:
    latency = scripted.noisy({"a1": slower}, seed=seed)
    medians = {
        name: {r: float(np.median([latency(name, r, i) for i in range(10)])) for r in range(rounds)}
        for name in ("a0", "a1")
    }
    found = statistics.ratio(medians["a1"], medians["a0"], names=("a1", "a0"))
    assert found is not None
    assert found.interval is not None
    return found


def test_the_interval_of_a_ratio_covers_what_it_says() -> None:
    """Under a drift, a drop of the clock by 30%, turns that share their luck, and tails without a variance."""
    found = [simulated_ratio(seed, 1.05).interval for seed in range(300)]
    assert np.mean([i is not None and i.low <= 1.05 <= i.high for i in found]) >= 0.93


def test_a_slow_down_of_five_percent_is_found_in_twenty_rounds() -> None:
    lows = [found.low for seed in range(100) if (found := simulated_ratio(seed, 1.05).interval) is not None]
    assert np.mean([low > 1 for low in lows]) >= 0.9


def test_a_run_against_itself_is_no_slow_down() -> None:
    found = [simulated_ratio(seed, 1.0).interval for seed in range(300)]
    assert np.mean([i is not None and i.low <= 1 <= i.high for i in found]) >= 0.93


def test_a_ratio_can_be_read_the_other_way_round() -> None:
    forth = simulated_ratio(0, 2.0)
    back = statistics.ratio_of([forth], "a0", "a1")
    assert back is not None
    assert back.interval is not None
    assert forth.interval is not None
    assert (back.value, back.interval.low) == pytest.approx((1 / forth.value, 1 / forth.interval.high))
    assert statistics.ratio_of([forth], "a1", "a0") == forth
    assert statistics.ratio_of([forth], "a0", "a2") is None


# The machine.


def test_a_quiet_machine_is_told_from_a_noisy_and_from_a_drifting_one() -> None:
    rng = np.random.default_rng(0)
    quiet = 2e6 * (1 + 0.002 * np.abs(rng.standard_t(2, 60)))
    noisy = 2e6 * (1 + 0.2 * np.abs(rng.standard_normal(60)))
    drifting = quiet * np.linspace(1, 1.2, 60)
    verdicts = [statistics.noise([int(ns) for ns in times]) for times in (quiet, noisy, drifting, drifting[::-1])]
    assert [v and v.verdict for v in verdicts] == ["quiet", "noisy", "drifting", "drifting"]
    assert "slower on the way" in (verdicts[2].sentence if verdicts[2] else "")
    assert "faster on the way" in (verdicts[3].sentence if verdicts[3] else "")


def test_one_long_yardstick_is_told_and_makes_no_machine_noisy() -> None:
    found = statistics.noise([2_000_000] * 39 + [50_000_000])
    assert found is not None
    assert (found.verdict, found.slowest) == ("quiet", 25.0)
    assert "25.00 times its median at worst" in found.sentence


def test_with_few_yardsticks_nothing_is_said() -> None:
    assert statistics.noise([2_000_000] * 5) is None


def test_throttling_is_found_at_the_end_of_a_sustained_run() -> None:
    rng = np.random.default_rng(0)
    levels = [1.0] * 50 + [1.4] * 50
    windows = turns(*([int(1e7 * level * (1 + 0.01 * rng.random())) for _ in range(20)] for level in levels))
    found = statistics.slowdown(windows)
    assert found is not None
    slower, interval = found
    assert slower == pytest.approx(1.4, rel=0.01)
    assert interval is not None
    assert 1.35 < interval.low < slower < interval.high < 1.45


def test_a_sustained_run_that_stays_as_fast_has_an_interval_around_one() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        windows = turns(*([int(1e7 * (1 + 0.01 * rng.standard_normal()))] for _ in range(100)))
        found = statistics.slowdown(windows)
        held += found is not None and found[1] is not None and found[1].low <= 1 <= found[1].high
    assert held / 200 >= 0.93


def test_a_short_sustained_run_has_a_ratio_without_an_interval() -> None:
    assert statistics.slowdown(turns([100])) is None
    slower, interval = statistics.slowdown(turns([100], [110])) or (0.0, None)
    assert slower == pytest.approx(1.1)
    assert interval is None
