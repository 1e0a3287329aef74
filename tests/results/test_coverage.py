"""An interval of 95% holds the truth in 95% of all measurements, on machines as they are, or it is not given."""

from __future__ import annotations

import numpy as np
import pytest
from interval_proof import (
    MACHINES,
    ROUNDS,
    alike,
    held,
    percentile_intervals,
    ratio_intervals,
    true_middle,
    true_percentile,
)

from edgecvx.results import dependence, statistics

AS_SAID = 0.93
"""Of 95%: so few simulated measurements can tell no better."""


@pytest.mark.parametrize("name", MACHINES)
def test_a_median_always_has_an_interval_and_it_holds(name: str) -> None:
    truth = true_percentile(MACHINES[name], 0.5, turns=20, runs=10, times=300)
    given, right = held(list(percentile_intervals(MACHINES[name], 0.5, 150, turns=20, runs=10)), truth)
    assert given == 1
    assert right >= AS_SAID


@pytest.mark.parametrize("name", MACHINES)
def test_a_p90_has_an_interval_that_holds_or_none(name: str) -> None:
    truth = true_percentile(MACHINES[name], 0.9, turns=20, runs=20, times=300)
    assert held(list(percentile_intervals(MACHINES[name], 0.9, 150, turns=20, runs=20)), truth)[1] >= AS_SAID


def test_a_p90_of_runs_that_share_nothing_nearly_always_has_an_interval() -> None:
    intervals = list(percentile_intervals(MACHINES["tails without a variance"], 0.9, 150, turns=20, runs=20))
    assert sum(i is not None for i in intervals) >= 0.8 * len(intervals)


def test_a_p90_of_turns_that_were_slow_together_has_none_and_says_why() -> None:
    blocks = [np.full(20, 1.0 + (turn in (3, 11, 12))) + np.arange(20) / 1e4 for turn in range(20)]
    found = statistics.percentile(blocks, 0.9)
    assert found.interval is None
    assert found.no_interval is not None
    assert "400 runs tell as much as" in found.no_interval


def test_a_p90_of_a_machine_that_warms_up_all_the_way_has_none_and_says_why() -> None:
    blocks = [np.full(20, 1.0 + turn / 20) + np.arange(20) / 1e4 for turn in range(20)]
    found = statistics.percentile(blocks, 0.9)
    assert found.interval is None
    assert found.no_interval is not None
    assert "next to each other were alike" in found.no_interval
    median = statistics.percentile(blocks, 0.5).interval
    assert median is not None
    assert (median.low, median.high) == pytest.approx((1.0, 1.95), abs=0.01), "the range of the turns"


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.parametrize("count", [15, 20])
def test_the_interval_of_a_ratio_holds_however_rounds_are_alike_and_skewed(name: str, count: int) -> None:
    assert held(list(ratio_intervals(ROUNDS[name], count, 300)), true_middle(ROUNDS[name]))[1] >= AS_SAID - 0.015


@pytest.mark.parametrize("name", [n for n in ROUNDS if n != "alike by 0.5"])
@pytest.mark.parametrize("count", [8, 10])
def test_it_does_over_few_rounds_too(name: str, count: int) -> None:
    assert held(list(ratio_intervals(ROUNDS[name], count, 300)), true_middle(ROUNDS[name]))[1] >= AS_SAID


def test_over_fewer_than_eight_rounds_there_is_none() -> None:
    assert list(ratio_intervals(ROUNDS["skewed"], 7, 1)) == [None]


def test_taking_turns_for_independent_would_be_far_too_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: what was said before neighbours were looked at."""
    monkeypatch.setattr(statistics, "inflation", lambda row: 1.0)
    machine, rounds = MACHINES["turns alike by 0.5"], ROUNDS["alike by 0.3"]
    truth = true_percentile(machine, 0.5, turns=20, runs=10, times=300)
    assert held(list(percentile_intervals(machine, 0.5, 150, turns=20, runs=10)), truth)[1] < 0.9
    assert held(list(ratio_intervals(rounds, 10, 300)), true_middle(rounds))[1] < 0.9


def test_the_inflation_of_a_row_is_about_what_its_correlation_makes_of_it() -> None:
    rng = np.random.default_rng(0)
    found = [dependence.inflation(alike(rng, 400, 0.4)) or 0.0 for _ in range(100)]
    assert 1.4 / 0.6 < np.median(found) < 1.3 * 1.4 / 0.6, "never less than (1 + r) / (1 - r)"


def test_a_row_that_never_changes_is_as_sure_as_it_looks_and_one_that_only_grows_is_not() -> None:
    assert dependence.inflation(np.ones(20)) == 1.0
    assert dependence.inflation(np.arange(20.0)) is None
    assert dependence.inflation(np.arange(9.0)) is None, "too few to tell"


def test_one_wild_round_does_not_hide_that_the_others_are_alike() -> None:
    row = np.arange(20.0)
    row[10] = 1e6
    assert dependence.inflation(row) is not None
    assert dependence.inflation(dependence.in_order_of_size(row)) is None
