"""What is expected of files that nobody measured, and who races for it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from edgecvx.spec import Precision
from edgecvx.tune.forecast import Forecast, along, choose, now_better
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.race.measured import Timing
from edgecvx.tune.search import probes, side_by_side
from edgecvx.tune.space import Candidate

SIZES = (160, 192, 224)


def candidate(size: int = 192, precision: Precision = Precision.INT8, model: str = "femto") -> Candidate:
    return Candidate(model=model, size=size, target="onnx", precision=precision)


def forecast(**lost: float) -> Forecast:
    """Times go with pixels, and the smallest size loses answers."""
    pictures = np.arange(128)
    rights = {("femto", size): pictures >= part * 128 for size, part in zip(SIZES, (0.2, 0.05, 0.05), strict=True)}
    found = Forecast(
        macs={("femto", size): size**2 for size in SIZES}, rights=rights, own_sizes={"femto": 224}, drops=dict(lost)
    )
    for size, (precision, factor) in product((160, 224), ((Precision.INT8, 1.0), (Precision.FP32, 2.0))):
        found.timed(candidate(size, precision), factor * (1 + size**2 / 1e4))
    return found


EVERY = [candidate(size, precision) for size in SIZES for precision in (Precision.INT8, Precision.FP32)]


def test_a_time_that_was_not_measured_lies_on_the_line_through_those_that_were() -> None:
    assert forecast().ms(candidate(192)) == pytest.approx(1 + 192**2 / 1e4)


def test_from_one_file_times_go_with_the_products() -> None:
    assert along([(100, 2.0)], 200) == pytest.approx(4.0)
    assert along([], 200) is None


def test_where_one_file_was_timed_times_grow_as_they_do_in_another_precision_of_the_target() -> None:
    found, one = forecast(), candidate(160, Precision.INT8_DYNAMIC)
    found.timed(one, 3 * (1 + 160**2 / 1e4))
    assert found.ms(replace(one, size=224)) == pytest.approx(3 * (1 + 224**2 / 1e4))
    elsewhere = replace(one, target="tflite")
    found.timed(elsewhere, 3.0)
    assert found.ms(replace(elsewhere, size=224)) == pytest.approx(3.0 * 224**2 / 160**2)  # nothing is known there


def test_timed_are_the_smallest_file_of_each_kind_and_of_each_target_the_largest_of_the_likeliest_winner() -> None:
    every = [replace(c, target=target) for target in ("onnx", "tflite") for c in EVERY]
    found = probes(every, forecast())
    assert [(c.target, c.size, c.precision.value) for c, needed in found if needed] == [
        ("onnx", 160, "int8"),
        ("onnx", 160, "fp32"),
        ("tflite", 160, "int8"),
        ("tflite", 160, "fp32"),
    ]
    assert [(c.target, c.size, c.precision.value) for c, needed in found if not needed] == [
        ("onnx", 224, "int8"),
        ("tflite", 224, "int8"),
    ]


def test_a_line_that_falls_is_noise_and_is_not_believed() -> None:
    predicted = along([(100, 2.0), (200, 1.9)], 400)
    assert predicted is not None
    assert predicted > 2.0


def test_a_measured_time_mends_those_beside_it() -> None:
    found = forecast()
    before = found.ms(candidate(192))
    found.timed(candidate(224), 2 * (1 + 224**2 / 1e4))
    after = found.ms(candidate(192))
    assert before is not None
    assert after is not None
    assert after > before


def test_with_a_limit_on_the_loss_the_fastest_that_may_keep_it_race() -> None:
    chosen, out = choose(EVERY, forecast(), Limits(max_drop=1), 3)
    assert chosen[0] == candidate(192)
    assert candidate(160) not in chosen
    assert "a loss of about" in out[candidate(160).key]


def test_with_a_limit_on_time_every_network_that_fits_races() -> None:
    chosen, out = choose(EVERY, forecast(), Limits(max_p50=6.0), 8)
    assert {c.size for c in chosen} == {160, 192, 224}
    assert "6 are allowed" in out[candidate(224, Precision.FP32).key]


def test_where_nothing_is_likely_the_closest_race_so_that_the_end_is_measured() -> None:
    chosen, _ = choose(EVERY, forecast(), Limits(max_p50=0.1), 8)
    assert candidate(160) in chosen
    assert len(chosen) <= 4


def test_a_file_joins_only_if_it_is_expected_to_be_better_by_what_counts() -> None:
    found, limits = forecast(), Limits(max_drop=1)
    assert now_better(candidate(192), candidate(224), found, limits)
    assert not now_better(candidate(224), candidate(192), found, limits)
    assert not now_better(candidate(160), candidate(224), found, limits)


def test_files_timed_in_groups_minutes_apart_are_compared_by_the_file_both_groups_share() -> None:
    first = Timing(rounds={0: 10.0, 1: 10.0, 2: 30.0, 3: 30.0, 4: 30.0})
    timings = {"first": first, "quiet": Timing(rounds={0: 5.0, 1: 5.0}), "busy": Timing(rounds={3: 15.0, 4: 15.0})}
    found = side_by_side(timings)
    assert found["quiet"] == found["busy"] == pytest.approx(15.0)
    assert np.median(list(timings["quiet"].rounds.values())) != np.median(list(timings["busy"].rounds.values()))
