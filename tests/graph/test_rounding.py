"""Rounding the stem for pictures: errors cancel for what neighbouring pixels share, and pairs still fit."""

from __future__ import annotations

import numpy as np
import pytest
from lowerings import canonical
from quantized import quantized
from support import network

from edgecvx.data.demo import picture
from edgecvx.graph.grids import quantize_weight, weight_scales
from edgecvx.graph.pairs import PairOrder, Product, check_pairs, pairs_of
from edgecvx.graph.qdq import weight_of
from edgecvx.graph.rounding import covariance, rounded_for_pictures
from edgecvx.graph.scheme import Scheme
from edgecvx.graph.values import array_of, reads_picture
from edgecvx.spec import PreprocessSpec

SHAPE = (24, 3, 4, 4)
PAIRS = tuple(pairs_of(SHAPE, order) for order in PairOrder)


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def patches(size: int = 4) -> np.ndarray:
    """What a stem's kernel sees of some drawn pictures, flattened as its weights are."""
    drawn = np.stack([picture(i, size=64)[0] for i in range(12)]).astype(np.float64) / 255 - 0.45
    cut = drawn.reshape(12, 64 // size, size, 64 // size, size, 3).transpose(0, 1, 3, 5, 2, 4)
    return np.asarray(cut.reshape(-1, 3 * size * size))


def loss_db(rounded: np.ndarray, exact: np.ndarray, seen: np.ndarray) -> float:
    """How loud what rounding does to a layer's output is, against the output."""
    error, signal = seen @ (rounded - exact).reshape(len(exact), -1).T, seen @ exact.reshape(len(exact), -1).T
    return float(10 * np.log10((error**2).sum() / (signal**2).sum()))


@pytest.mark.parametrize("pairs", [(), PAIRS], ids=["any", "pairs"])
def test_what_a_stem_returns_for_pictures_comes_closer(pairs: tuple[np.ndarray, ...]) -> None:
    weight, seen = weights(), patches()
    nearest, chosen = (quantize_weight(weight, None, pairs, of_picture=of) for of in (False, True))
    np.testing.assert_array_equal(chosen.scales, nearest.scales)
    assert loss_db(chosen.dequantize(), weight, seen) < loss_db(nearest.dequantize(), weight, seen) - 8
    # For pixels that have nothing to do with each other no rounding is better than the nearest; little is lost there.
    noise = np.random.default_rng(1).standard_normal(seen.shape)
    assert loss_db(chosen.dequantize(), weight, noise) < loss_db(nearest.dequantize(), weight, noise) + 3


def test_a_covariance_of_nothing_alike_is_the_nearest_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecvx.graph.rounding.NOISE", 1.0)
    np.testing.assert_array_equal(covariance((3, 4, 4)), np.eye(48))
    steps = weights() * 40
    np.testing.assert_array_equal(rounded_for_pictures(steps, 1000, ()), np.rint(steps))


@pytest.mark.parametrize("seed", range(5))
def test_errors_that_are_carried_on_take_no_pair_over_the_limit(seed: int) -> None:
    weight = weights(seed)
    weight[::2] = np.abs(weight[::2]) + 1  # one sign and much alike: every pair is near its limit
    values = quantize_weight(weight, weight_scales(weight), PAIRS, of_picture=True).values
    for order in PairOrder:
        assert not check_pairs([Product(name="stem", values=values, order=order)]).overflowing
    assert np.abs(values).max() <= 127
    free = quantize_weight(weight, weight_scales(weight) * 1.02, (), of_picture=True).values
    assert check_pairs([Product(name="stem", values=free, order=PairOrder.ROWS)]).overflowing, "the limit did nothing"


@pytest.mark.parametrize("preprocess", [None, PreprocessSpec(size=64)], ids=["floats", "bytes"])
def test_the_layer_that_reads_the_picture_is_the_only_one(preprocess: PreprocessSpec | None) -> None:
    graph = canonical(network(), preprocess=preprocess)
    (stem,) = (node for node in graph.graph if node.op_type == "Conv" and reads_picture(node))
    weight = array_of(stem.inputs[1])
    for node in quantized(graph, Scheme(pairs=())).graph:
        if node.op_type == "Conv" and node.outputs[0].name == stem.outputs[0].name:
            found = weight_of(node.inputs[1])
            assert found is not None
            np.testing.assert_array_equal(found.values, quantize_weight(weight, of_picture=True).values)
            assert (found.values != quantize_weight(weight).values).any()
