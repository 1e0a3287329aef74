"""The sweep: exact figures, a fair sample, memory that does not grow, and numbers that are no numbers told."""

from __future__ import annotations

import functools
import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from quantized import images_of, run_onnx
from support import network

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.quantize.observe.calibrate import ROWS, calibrate, half_of, points_of
from edgecvx.quantize.observe.observed import PointStatistics
from edgecvx.spec import InputKind, PreprocessSpec

Array = NDArray[Any]


def canonical(folds: Sequence[str] | None = None, **changes: Any) -> ir.Model:
    return build_canonical(fold(network(), folds).module, image_size=64, **changes)


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical()


def test_the_figures_are_those_of_every_pixel(graph: ir.Model) -> None:
    pictures = images_of(graph, 5)
    stats = calibrate(graph, pictures)
    values = points_of(graph)
    runs = [{"image": p, **run_onnx(graph, p, sorted(set(values.values()) - {"image"}))} for p in pictures]
    for point, value in values.items():
        every = np.concatenate([run[value].reshape(*run[value].shape[:2], -1)[0] for run in runs], axis=1)
        seen = stats[point]
        # Other kernels and orders of summation than node by node: a part in 10^5 of the largest value.
        close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * float(np.abs(every).max()))
        close(seen.low, every.min(axis=1))
        close(seen.high, every.max(axis=1))
        close(seen.mean, every.mean(axis=1, dtype=np.float64))


def test_every_layer_and_activation_is_a_point(graph: ir.Model) -> None:
    block = "stages.0.blocks.0"
    of_block = [point for point in points_of(graph) if point.startswith(block)]
    layers = [f"{block}.{name}" for name in ("conv_dw", "mlp.fc1", "mlp.fc2")]
    expected = [[f"{layer}.input", layer] for layer in layers]
    expected.insert(2, [f"{block}.mlp.act"])
    assert of_block == list(itertools.chain(*expected))
    assert points_of(graph)["logits.input"] == "head.flatten"
    with pytest.raises(UsageError, match="did you mean"):
        _ = calibrate(graph, images_of(graph, 1))["logits.inputs"]


@pytest.mark.parametrize("folds", [None, ()])
def test_any_canonical_graph_is_swept(folds: tuple[str, ...] | None) -> None:
    for changes in ({}, {"batch": 4}):
        graph = canonical(folds, **changes)
        stats = calibrate(graph, [image[:1] for image in images_of(graph, 2)])
        assert set(stats.points) == set(points_of(graph))


def test_bytes_at_the_door_give_the_same_figures_behind_it() -> None:
    module, spec = fold(network()).module, PreprocessSpec(size=64)
    taking_bytes = build_canonical(fold_uint8_input(module, spec), image_size=64, input_kind=InputKind.UINT8)
    pixels = images_of(taking_bytes, 3)
    floats = [(p / 255 - np.reshape(spec.mean, (3, 1, 1))) / np.reshape(spec.std, (3, 1, 1)) for p in pixels]
    a, b = calibrate(taking_bytes, pixels), calibrate(canonical(), [f.astype(np.float32) for f in floats])
    assert a["stem.0.input"].range == (min(p.min() for p in pixels), max(p.max() for p in pixels))
    np.testing.assert_allclose(a["logits"].mean, b["logits"].mean, atol=1e-4 * np.abs(b["logits"].mean).max())


def test_the_halves_share_no_picture_and_no_period() -> None:
    """Pictures come one of each class in turn: each class has to be in both halves."""
    for classes in (2, 3, 8, 10, 24):
        halves = {(index % classes, half_of(index)) for index in range(16 * classes)}
        assert len(halves) == 2 * classes
    assert sum(half_of(index) for index in range(256)) == 128


def test_each_half_holds_its_own_pictures(graph: ir.Model) -> None:
    pictures = [np.full((1, 3, 64, 64), index, np.float32) for index in range(8)]
    first, second = calibrate(graph, pictures)["stem.0.input"].halves
    assert set(np.unique(first.rows)) == {0, 3, 5, 6} and set(np.unique(second.rows)) == {1, 2, 4, 7}
    assert first.pictures == second.pictures == 4


def test_the_sample_is_fair_to_early_and_late_pictures(graph: ir.Model) -> None:
    """The mean number of the picture a sampled pixel is from: 5 standard errors around the middle."""
    count = 60
    rows = calibrate(graph, _numbered(count))["stem.0.input"].rows[:, 0]
    assert len(rows) == 2 * ROWS
    assert abs(rows.mean() - (count - 1) / 2) < 5 * count / np.sqrt(12 * len(rows))
    assert len(np.unique(rows)) > count / 2


def test_the_same_pictures_give_the_same_figures(graph: ir.Model) -> None:
    a, b = (calibrate(graph, images_of(graph, 4)) for _ in range(2))
    for name in a.points:
        assert a[name].rows.tobytes() == b[name].rows.tobytes() and a[name].range == b[name].range


def test_more_pictures_take_no_more_memory(graph: ir.Model) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        stats = calibrate(graph, _numbered(count))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert max(len(p.rows) for p in stats.points.values()) <= 2 * ROWS
        return most

    few, many = peak(40), peak(60)  # from 32 on both halves have all the extreme pixels they keep
    assert many < few + 100_000, "twenty more pictures of 48 kB each"


def test_progress_is_told_after_each_picture(graph: ir.Model) -> None:
    told: list[int] = []
    calibrate(graph, images_of(graph, 3), on_picture=told.append)
    assert told == [1, 2, 3]


def test_one_picture_is_one_half(graph: ir.Model) -> None:
    assert len(calibrate(graph, images_of(graph, 1))["logits"].halves) == 1
    with pytest.raises(EdgecvxError, match="no picture"):
        calibrate(graph, [])


@pytest.mark.parametrize("value", [np.nan, 3e38])
def test_weights_that_give_no_numbers_are_named_by_their_first_layer(value: float) -> None:
    graph = canonical()
    constant = graph.graph.initializers["stages.1.downsample.1.weight"]
    tensor = constant.const_value
    assert tensor is not None
    constant.const_value = ir.tensor(np.full(tensor.numpy().shape, value, np.float32))
    with pytest.raises(EdgecvxError, match=r"'stages.1.downsample.1' holds NaN or infinite .* calibration picture 1"):
        calibrate(graph, images_of(graph, 1))


def test_a_picture_that_is_no_number_is_named_too(graph: ir.Model) -> None:
    good, bad = images_of(graph, 2)
    with pytest.raises(EdgecvxError, match="'image' holds NaN or infinite values in calibration picture 2"):
        calibrate(graph, [good, bad * np.float32(np.inf)])


def test_tensors_of_one_value_are_told() -> None:
    graph = canonical()
    for name in ("weight", "bias"):
        constant = graph.graph.initializers[f"stages.2.blocks.0.conv_dw.{name}"]
        constant.const_value = ir.tensor(np.zeros(constant.shape, np.float32))  # type: ignore[call-overload]
    (told,) = calibrate(graph, images_of(graph, 2)).notes()
    assert "one single value" in told and "'" not in told and "stages.2.blocks.0.conv_dw" in told
    assert calibrate(canonical(), images_of(graph, 2)).notes() == ()


def test_figures_of_both_halves_weigh_by_their_pictures(graph: ir.Model) -> None:
    pictures = list(_numbered(3))  # 0 | 1, 2
    point = calibrate(graph, pictures)["stem.0.input"]
    assert isinstance(point, PointStatistics) and [half.pictures for half in point.halves] == [1, 2]
    np.testing.assert_allclose(point.mean, 1.0)


def _numbered(count: int) -> Iterator[Array]:
    """Pictures that hold their number everywhere."""
    for index in range(count):
        yield np.full((1, 3, 64, 64), index, np.float32)
