"""Answers settle by time, whatever the rate, and are forgotten when the scene changes."""

from __future__ import annotations

import numpy as np
import pytest
from live_fakes import grey

from edgecvx_live.smoothing import CUT, CutDetector, Smoother
from edgecvx_live.sources.demo import HOLD, frame

BEFORE, AFTER = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def settled(rate: float, seconds: float = 1.0) -> float:
    """How far a smoother has gone over to a new answer after a second of it."""
    smoother = Smoother(0.4)
    smoother.update(BEFORE, 0.0)
    average = BEFORE
    for number in range(1, round(rate * seconds) + 1):
        average = smoother.update(AFTER, number / rate)
    return float(average[1])


def test_a_slow_and_a_fast_file_settle_alike() -> None:
    assert settled(5) == pytest.approx(settled(50)) == pytest.approx(1 - np.exp(-1 / 0.4))


def test_an_average_of_probabilities_is_one() -> None:
    smoother = Smoother(0.4)
    draw = np.random.default_rng(0)
    for number in range(20):
        average = smoother.update(draw.dirichlet(np.ones(5)), number / 10)
        assert average.sum() == pytest.approx(1)
        assert average.min() >= 0


def test_forgetting_starts_anew() -> None:
    smoother = Smoother(0.4)
    smoother.update(BEFORE, 0.0)
    assert smoother.update(AFTER, 0.01)[1] < 0.1
    smoother.reset()
    assert smoother.update(AFTER, 0.02)[1] == 1.0


def test_zero_seconds_show_each_frame_as_it_is() -> None:
    smoother = Smoother(0)
    smoother.update(BEFORE, 0.0)
    assert smoother.update(AFTER, 0.0).tolist() == AFTER.tolist()


def test_a_clock_that_stands_still_changes_nothing() -> None:
    smoother = Smoother(0.4)
    smoother.update(BEFORE, 5.0)
    assert smoother.update(AFTER, 5.0).tolist() == smoother.update(AFTER, 4.0).tolist() == BEFORE.tolist()


def test_a_moving_camera_is_no_cut_and_a_new_scene_is() -> None:
    """On the drawn pictures: the window wanders for 50 frames, then comes another picture."""
    detector = CutDetector()
    cuts = [number for number in range(0, 6 * HOLD, 5) if detector.cut(frame(number))]
    assert cuts == [HOLD * n for n in range(1, 6)]


def test_a_slow_change_of_light_is_no_cut() -> None:
    detector = CutDetector()
    assert not any(detector.cut(grey(level)) for level in range(0, 255, int(CUT) - 4))


def test_noise_is_no_cut() -> None:
    detector = CutDetector()
    draw = np.random.default_rng(0)
    assert not any(detector.cut(draw.integers(0, 256, (480, 640, 3), np.uint8)) for _ in range(3))
