"""Identity 6: a 7x7 depthwise convolution equals the sum of its grids, in float64, on maps of every size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from support import assert_close, relative_error
from torch import Tensor
from torch.nn import functional as F

from edgecvx.errors import ExportError
from edgecvx.export.tflite.depthwise import PARTITIONS, Grid, same_offsets, same_padding, split

EXACT = 1e-14
EXACT_WHY = "an identity of real arithmetic: only float64's rounding of 49 products in another order is left"

MICROKERNELS = (3, 4, 9, 25)
"""The taps that XNNPACK's depthwise microkernels hold."""


def same_conv(x: Tensor, kernel: Tensor, dilation: tuple[int, int]) -> Tensor:
    """A depthwise convolution as TFLite defines it for SAME padding at stride 1."""
    rows, columns = (
        same_padding(size, k, 1, d) for size, k, d in zip(x.shape[2:], kernel.shape[2:], dilation, strict=True)
    )
    return F.conv2d(F.pad(x, (*columns, *rows)), kernel, dilation=dilation, groups=x.shape[1])


def sum_of(x: Tensor, weight: Tensor, partition: Sequence[Grid]) -> Tensor:
    parts = split(weight.numpy(), partition)
    return sum((same_conv(x, torch.from_numpy(taps), grid.dilation) for grid, taps in parts), start=torch.zeros(1))


def draw(height: int, width: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(height * 100 + width)
    x = torch.randn(2, 5, height, width, dtype=torch.float64, generator=random)
    return x, torch.randn(5, 1, 7, 7, dtype=torch.float64, generator=random)


@pytest.mark.parametrize(("height", "width"), [(56, 56), (14, 14), (7, 7), (5, 9), (2, 3), (1, 1)])
def test_sum_of_the_grids_is_the_whole_convolution(height: int, width: int) -> None:
    """Also where the map is smaller than the kernel, and every grid hangs over every border."""
    x, weight = draw(height, width)
    whole = F.conv2d(x, weight, padding=3, groups=5)
    assert_close(sum_of(x, weight, PARTITIONS[7]), whole, EXACT, why=EXACT_WHY)


def test_any_partition_into_grids_is_exact() -> None:
    """The inner 5x5 and the ring around it: correct too, and dearer, as the next test says."""
    ring = (
        Grid(name="inner", shape=(5, 5), dilation=(1, 1)),
        Grid(name="rows", shape=(2, 7), dilation=(6, 1)),
        Grid(name="columns", shape=(5, 2), dilation=(1, 6)),
    )
    x, weight = draw(14, 14)
    assert_close(sum_of(x, weight, ring), F.conv2d(x, weight, padding=3, groups=5), EXACT, why=EXACT_WHY)
    assert work(ring) == 75


def work(partition: Sequence[Grid]) -> int:
    """Taps that are computed: each grid runs in the smallest microkernel that holds it."""
    return sum(min(m for m in MICROKERNELS if m >= np.prod(grid.shape)) for grid in partition)


def test_grids_fill_their_microkernels() -> None:
    assert sum(int(np.prod(grid.shape)) for grid in PARTITIONS[7]) == 49
    assert work(PARTITIONS[7]) == 59


def test_small_kernels_stay_whole() -> None:
    assert set(PARTITIONS) == {7}
    assert {3 * 3, 5 * 5} <= set(MICROKERNELS)


@pytest.mark.parametrize(
    ("taps", "dilation", "offsets"),
    [(3, 1, (-1, 0, 1)), (4, 2, (-3, -1, 1, 3)), (2, 6, (-3, 3)), (4, 1, (-1, 0, 1, 2)), (1, 1, (0,))],
)
def test_offsets_are_those_of_same_padding(taps: int, dilation: int, offsets: tuple[int, ...]) -> None:
    """An odd span is padded once more behind than before, so an even kernel without dilation leans forward."""
    assert same_offsets(taps, dilation) == offsets
    assert same_padding(50, taps, 1, dilation) == (-offsets[0], offsets[-1])


@pytest.mark.parametrize(
    ("size", "taps", "stride", "padding"),
    [(64, 3, 2, (0, 1)), (65, 3, 2, (1, 1)), (64, 4, 4, (0, 0)), (1, 7, 1, (3, 3))],
)
def test_same_padding_with_strides(size: int, taps: int, stride: int, padding: tuple[int, int]) -> None:
    """TFLite's own values; the first is why a padded stem at stride 2 needs a PAD of its own."""
    assert same_padding(size, taps, stride, 1) == padding


EVEN, ODD, EDGE = PARTITIONS[7]


@pytest.mark.parametrize(
    "wrong",
    [
        (EVEN, ODD),
        (EVEN, ODD, EDGE, EDGE),
        (EVEN, ODD, Grid(name="edge", shape=(4, 2), dilation=(2, 7))),
        (EVEN, ODD, Grid(name="edge", shape=(4, 2), dilation=(2, 8))),
        (EVEN, Grid(name="odd", shape=(4, 5), dilation=(1, 1)), EDGE),
    ],
    ids=["missing taps", "taps twice", "off centre", "outside", "wrong dilation"],
)
def test_what_is_no_partition_is_refused(wrong: tuple[Grid, ...]) -> None:
    with pytest.raises(ExportError, match="grid"):
        split(np.ones((5, 1, 7, 7)), wrong)


@pytest.mark.parametrize("broken", ["dilation swapped", "off by one pixel", "a part left out"])
def test_a_wrong_sum_is_noticed(broken: str) -> None:
    """The proof above would fail for each mistake a lowering could make with the parts."""
    x, weight = draw(14, 14)
    total = torch.zeros(1, dtype=torch.float64)
    for grid, taps in split(weight.numpy(), PARTITIONS[7]):
        kernel = torch.from_numpy(taps)
        if grid.name == "edge" and broken == "a part left out":
            continue
        part = same_conv(x, kernel, grid.dilation[::-1] if broken == "dilation swapped" else grid.dilation)
        if broken == "off by one pixel" and grid.name == "edge":
            part = part.roll(1, dims=3)
        total = total + part
    assert relative_error(total, F.conv2d(x, weight, padding=3, groups=5)) > 0.05
