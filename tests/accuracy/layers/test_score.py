"""The figures of one inner tensor."""

from __future__ import annotations

import numpy as np
import pytest

from edgecvx.accuracy.layers.reference import Tensor
from edgecvx.accuracy.layers.score import Score
from edgecvx.results.layers import LIMIT_DB

TENSOR = Tensor(name="stem.0", kind="conv 4x4", parents=("image",), shape=(1, 4, 3, 3))


def test_values_that_are_not_finite_are_counted_where_they_are_born() -> None:
    score = Score()
    expected = np.ones((1, 2, 2, 2))
    actual = expected.copy()
    actual[0, 1, 0, 0] = np.nan
    score.add(actual, expected, expected)
    assert score.not_finite == 1
    assert score.by_channel.argmax() == 1
    inherited = Score()
    inherited.add(actual, expected, actual)
    assert inherited.by_channel.sum() == 0, "the layer was fed with NaN: nothing was born in it"


def test_what_was_inherited_is_not_born_here() -> None:
    """The tensor is far from FP32's, and exactly what FP32 makes of the inputs it got."""
    draw = np.random.default_rng(0)
    expected = draw.standard_normal((1, 4, 3, 3))
    actual = expected + draw.standard_normal((1, 4, 3, 3))
    score = Score()
    score.add(actual, expected, actual)
    layer = score.result(TENSOR, 0)
    assert layer.sqnr_db is not None and abs(layer.sqnr_db) < 6, "noise as loud as the signal"
    assert layer.local_sqnr_db is None, "no error at all was born here"


def test_figures_do_not_depend_on_how_pictures_are_batched() -> None:
    draw = np.random.default_rng(1)
    expected = draw.standard_normal((4, 4, 3, 3))
    actual = expected + 0.1 * draw.standard_normal((4, 4, 3, 3))
    whole, parts = Score(), Score()
    whole.add(actual, expected, expected)
    for i in range(4):
        parts.add(actual[i : i + 1], expected[i : i + 1], expected[i : i + 1])
    a, b = whole.result(TENSOR, 0), parts.result(TENSOR, 0)
    assert a.sqnr_db == pytest.approx(20, abs=1), "a tenth of the amplitude is 20 dB"
    assert (a.sqnr_db, a.cosine, a.channel) == pytest.approx((b.sqnr_db, b.cosine, b.channel))


def test_noise_without_a_signal_is_the_worst_figure() -> None:
    score = Score()
    score.add(np.ones((1, 4)), np.zeros((1, 4)), np.zeros((1, 4)))
    assert score.result(TENSOR, 0).sqnr_db == -LIMIT_DB
