"""Pairs of int8 weights: which ones are neighbours, and that no activations can make their products overflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lowerings import NETWORKS, canonical, written
from quantized import quantized
from support import network

from edgecvx.export.base import Options
from edgecvx.export.onnx import lower as onnx
from edgecvx.export.onnx.lower import OnnxOptions
from edgecvx.export.onnx.reader import read_products as read_onnx_products
from edgecvx.export.openvino import lower as openvino
from edgecvx.export.openvino import reader as openvino_inspection
from edgecvx.graph.grids import quantize_weight
from edgecvx.graph.pairs import PAIR_LIMIT, PairOrder, Product, check_pairs, pairs_of, room_for_pairs
from edgecvx.graph.scheme import Scheme
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import Precision
from edgecvx.targets import get_target

ONNX, OPENVINO = (get_target(name).schemes[Precision.INT8] for name in ("onnx", "openvino"))
EVERY_ORDER = tuple(PairOrder)


def test_two_weights_of_one_sign_may_reach_128_together() -> None:
    byte = np.array([0, 255])
    weights = np.arange(-127, 128)
    a, b = np.meshgrid(weights, weights)
    sums = np.stack([x * a + y * b for x in byte for y in byte])  # the extremes: a sum of products is linear in each
    fits = (sums.min(axis=0) >= -(2**15)) & (sums.max(axis=0) < 2**15)
    allowed = ((a > 0) != (b > 0)) | (np.abs(a + b) <= PAIR_LIMIT)
    np.testing.assert_array_equal(fits, allowed)


@pytest.mark.parametrize(
    "shape,order,expected",
    [
        ((4, 5), PairOrder.ROWS, [(0, 1), (2, 3)]),  # a product: the last of an odd number has no neighbour
        ((4, 6, 1, 1), PairOrder.CHANNELS, [(0, 1), (2, 3), (4, 5)]),
        # Three channels of a 1x2 kernel, flattened as they lie in the weights: [c0 left, c0 right, c1 left, …].
        ((4, 3, 1, 2), PairOrder.CHANNELS, [(0, 2), (1, 3)]),  # the third channel's neighbour is a zero
        ((4, 3, 1, 2), PairOrder.ROWS, [(0, 2), (4, 1), (3, 5)]),  # the run goes on into the next column
        ((4, 5), PairOrder.CHANNELS, [(0, 1), (1, 2), (2, 3), (3, 4)]),  # a product that may be cut at any place
        ((4, 4), PairOrder.CHANNELS, [(0, 1), (2, 3)]),
        ((4, 2, 2, 1), PairOrder.ROWS, [(0, 2), (1, 3)]),
        ((4, 2, 2, 1), PairOrder.COLUMNS, [(0, 1), (2, 3)]),  # the rows of a column stand side by side
    ],
)
def test_neighbours_are_those_of_the_kernel(
    shape: tuple[int, ...], order: PairOrder, expected: list[tuple[int, int]]
) -> None:
    assert pairs_of(shape, order).tolist() == [list(pair) for pair in expected]


def hard_weights(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Weights of one channel or another that ask for the worst: one sign, extreme scales, outliers, zeros, ties."""
    draw = np.random.default_rng(seed)
    weight = draw.standard_normal(shape)
    weight[0::7] = np.abs(weight[0::7])
    weight[1::7] = -1.0
    weight[2::7] *= 10.0 ** draw.uniform(-30, 30)
    weight[3::7] = np.where(draw.random(weight[3::7].shape) < 0.01, 1e4, weight[3::7])
    weight[4::7] = 0.0
    weight[5::7] = draw.integers(-2, 3, weight[5::7].shape) * 63.5 / 127  # every rounding a tie
    return weight


# Fourteen output channels of each layer of every variant: each is rounded by itself.
SHAPES = sorted(
    {
        shape
        for arch in VARIANTS.values()
        for c in arch.dims
        for shape in ((14, c, 1, 1), (14, 4 * c, 1, 1), (14, c, 2, 2), (14, 3, 4, 4), (7, c))
    }
    | {(9, 3, 7, 7), (9, 3, 3, 3), (13, 5, 3, 3), (13, 1, 1, 1), (8, 27, 1, 1)}
)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_weights_no_pair_overflows_in_any_order(seed: int) -> None:
    overflowed = 0
    for shape in SHAPES:
        weight = hard_weights(shape, seed)
        pairs = tuple(pairs_of(shape, order) for order in EVERY_ORDER)
        safe, usual = quantize_weight(weight, None, pairs), quantize_weight(weight)
        for order in EVERY_ORDER:
            assert check_pairs([Product(name="w", values=safe.values, order=order)]).overflowing == 0, (shape, order)
            overflowed += check_pairs([Product(name="w", values=usual.values, order=order)]).overflowing
        # A channel keeps its scale where it can, and no other loses more than the one bit that halves everything.
        assert (safe.scales >= usual.scales).all() and (safe.scales <= 2.0001 * usual.scales).all()
    assert overflowed > 10_000, "the usual rounding has to be what this is about"


def test_only_the_channels_that_need_it_get_a_coarser_scale() -> None:
    weight = np.array([[126.0, 1, -126, -1], [127, -127, 0, 1], [100, 60, 0, 0], [64, 63, 127, 0]])
    pairs = (pairs_of(weight.shape, PairOrder.ROWS),)
    np.testing.assert_allclose(room_for_pairs(weight, pairs), [1.0, 1.0, 160 / PAIR_LIMIT, 1.0], rtol=1e-5)
    quantized = quantize_weight(weight, np.ones(4, np.float32), pairs)
    np.testing.assert_array_equal(quantized.values[[0, 1, 3]], weight[[0, 1, 3]])
    assert quantized.values[2].tolist() == [80, 48, 0, 0]


@pytest.mark.parametrize("scale", [1.0, 1 / 3, 1.1e-7, 7e20])
def test_rounding_takes_no_pair_over_the_limit(scale: float) -> None:
    scale = float(np.float32(scale))
    halves = np.arange(0.5, 128, 0.5)
    just = np.concatenate([halves, np.nextafter(halves, 0), np.nextafter(halves, 256)])
    weight = np.stack([just, 128 - just], axis=1) * scale  # every sum that is 128, up to its last digit
    quantized = quantize_weight(weight, np.full(len(just), scale, np.float32), (pairs_of((1, 2), PairOrder.ROWS),))
    assert quantized.values.astype(int).sum(axis=1).max() == PAIR_LIMIT
    naive = np.rint(weight / scale).astype(int)  # the same without looking
    assert naive.sum(axis=1).max() == PAIR_LIMIT + 1


def files(kind: str, folder: Path, scheme: Scheme | None = None) -> dict[str, Path]:
    """An INT8 file of a small network for each runtime that adds in pairs, under the target's scheme or another."""
    graph = canonical(network(**NETWORKS[kind]))
    options = Options(precision=Precision.INT8)
    found = {"openvino": written(openvino.lower(quantized(graph, scheme or OPENVINO), options), folder)}
    for form in ("rows", "plain"):
        inner = folder / form
        inner.mkdir()
        lowered = onnx.lower(quantized(graph, scheme or ONNX), OnnxOptions(precision=Precision.INT8, form=form))
        found[form] = written(lowered, inner)
    return found


@pytest.mark.parametrize("kind", NETWORKS)
def test_written_files_hold_no_pair_that_overflows(kind: str, tmp_path: Path) -> None:
    for name, path in files(kind, tmp_path).items():
        reader = openvino_inspection.read_products if name == "openvino" else read_onnx_products
        products = reader(path)
        found = check_pairs(products)
        assert found.pairs > 5_000 and not found.overflowing, f"{name}: {found}"
        assert {len(product.values.shape) for product in products} <= {2, 4}


def test_a_file_whose_weights_were_not_looked_at_is_told_pair_by_pair(tmp_path: Path) -> None:
    for name, path in files("v2", tmp_path, Scheme(pairs=())).items():
        reader = openvino_inspection.read_products if name == "openvino" else read_onnx_products
        found = check_pairs(reader(path))
        assert 0 < found.overflowing < found.pairs // 10 and len(found.examples) == 5
        for overflow in found.examples:
            a, b = overflow.weights
            assert a * b > 0 and abs(a + b) > PAIR_LIMIT
        assert f"{found.overflowing:,} of {found.pairs:,} overflow" in str(found) and " more" in str(found)


def test_a_planted_pair_is_named() -> None:
    values = np.zeros((3, 4, 2, 2), np.int8)
    values[1, 2, 0, 1], values[1, 3, 0, 1] = -65, -64
    found = check_pairs([Product(name="stages.1.downsample.1", values=values, order=PairOrder.CHANNELS)])
    assert found.overflowing == 1 and found.pairs == 3 * 8
    assert str(found).endswith(
        "stages.1.downsample.1: in output channel 1 the neighbours [2, 0, 1] and [3, 0, 1] are -65 and -64, together "
        "over 128"
    )
    values[1, 3, 0, 1] = -63
    assert not check_pairs([Product(name="x", values=values, order=PairOrder.CHANNELS)]).overflowing


def test_depthwise_kernels_make_no_pairs() -> None:
    assert ONNX.pairs_in("stages.0.blocks.0.conv_dw", (8, 1, 7, 7)) == ()
    assert len(ONNX.pairs_in("stages.0.blocks.0.mlp.fc1", (32, 8, 1, 1))) == 1
    assert len(ONNX.pairs_in("stem.0", (8, 3, 4, 4))) == 2, "in rows and in the plain form its weights lie differently"
    assert Scheme(pairs=()).pairs_in("stem.0", (8, 3, 4, 4)) == ()
    assert len(Scheme().pairs_in("stem.0", (8, 3, 4, 4))) == 3, "who says nothing is safe in every order"
