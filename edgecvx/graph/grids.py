"""The arithmetic of INT8, in numpy: grids, how a tensor lands on one, and what an integer kernel needs besides.

A grid is ``q = clip(round(x / scale) + zero_point, -128, 127)``, rounding half to even as ONNX, TFLite and OpenVINO do,
and stands for ``(q - zero_point) * scale``. Zero is always on it, exactly: padding is zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError
from edgecvx.graph.pairs import Pairs, room_for_pairs
from edgecvx.graph.rounding import rounded_for_pictures

Array = NDArray[Any]

LOWEST, HIGHEST = -128, 127
"""Of int8."""
WEIGHT_LIMIT = 127
"""Weights leave -128 unused: symmetric means that ``-w`` is on the grid where ``w`` is, and kernels rely on it."""
SMALLEST_SCALE = 2.0**-60
"""A tensor that is zero everywhere still needs a scale, and the product of two must not underflow float32."""
BIAS_LIMIT = 2.0**30
"""Half of int32: the other half is for the products that are added to a bias."""


def is_scale(number: float) -> bool:
    """Whether a file can hold a number as a scale: float32, and not so small that runtimes take it for zero."""
    limits = np.finfo(np.float32)
    return float(limits.tiny) <= number <= float(limits.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How one activation tensor is stored in int8."""

    scale: float
    zero_point: int = 0

    def __post_init__(self) -> None:
        if not is_scale(self.scale):
            raise EdgecvxError(f"a scale has to be a positive and finite float32, got {self.scale}")
        if not LOWEST <= self.zero_point <= HIGHEST:
            raise EdgecvxError(f"zero point {self.zero_point} is outside int8")

    @property
    def low(self) -> float:
        """The smallest number on the grid."""
        return (LOWEST - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The largest number on the grid."""
        return (HIGHEST - self.zero_point) * self.scale

    def quantize(self, x: Array) -> NDArray[np.int8]:
        """The integers nearest to ``x``; what lies outside the grid becomes its end."""
        steps = np.rint(np.asarray(x, np.float32) / np.float32(self.scale)) + self.zero_point
        return np.asarray(np.clip(steps, LOWEST, HIGHEST), np.int8)

    def dequantize(self, q: Array) -> NDArray[np.float32]:
        """The numbers the integers stand for."""
        return np.asarray((q.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale), np.float32)


BYTES = Grid(scale=1.0, zero_point=LOWEST)
"""The grid of a picture's bytes, on which nothing is rounded."""


def grid_of_range(low: float, high: float, *, symmetric: bool) -> Grid:
    """The grid that covers a range, zero included."""
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise EdgecvxError(f"no grid covers {low} to {high}")
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Grid(scale=as_float32(max(max(-low, high) / HIGHEST, SMALLEST_SCALE)))
    scale = as_float32(max((high - low) / (HIGHEST - LOWEST), SMALLEST_SCALE))
    zero_point = round(LOWEST - low / scale)
    return Grid(scale=scale, zero_point=min(max(zero_point, LOWEST), HIGHEST))


def as_float32(number: float) -> float:
    """The float32 nearest to a number, in the fewest digits that still name it: what a plan shows and a file holds."""
    return float(f"{float(np.float32(number)):.9g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A layer's weights in int8, one scale per output channel (the first axis), zero point 0."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.dtype != np.int8 or self.scales.shape != self.values.shape[:1]:
            raise EdgecvxError(
                f"weights of shape {self.values.shape} and type {self.values.dtype} do not go with "
                f"{self.scales.shape} scales"
            )

    def dequantize(self) -> NDArray[np.float32]:
        """The weights the integers stand for."""
        return np.asarray(self.values.astype(np.float32) * _by_channel(self.scales, self.values.ndim), np.float32)


def weight_scales(weight: Array) -> NDArray[np.float32]:
    """One scale per output channel: its largest weight becomes 127."""
    largest = np.abs(weight.reshape(len(weight), -1).astype(np.float64)).max(axis=1)
    return np.asarray(np.maximum(largest / WEIGHT_LIMIT, SMALLEST_SCALE), np.float32)


def quantize_weight(
    weight: Array, scales: NDArray[np.float32] | None = None, pairs: Sequence[Pairs] = (), *, of_picture: bool = False
) -> Weight:
    """Rounds weights to int8 on the given scales, or on those their largest values ask for.

    Args:
        weight: Output channels first.
        scales: One per output channel; those whose pairs would not fit grow.
        pairs: Weights that some kernels multiply and add two by two, in every order they do it in: no result overflows
            (``edgecvx.graph.pairs``).
        of_picture: Whether these weights read a picture, and are rounded for one (``edgecvx.graph.rounding``).
    """
    scales = weight_scales(weight) if scales is None else np.asarray(scales, np.float32)
    exact = weight.astype(np.float64)
    if pairs:
        room = room_for_pairs(exact / _by_channel(scales.astype(np.float64), weight.ndim), pairs)
        scales = np.asarray(scales * room, np.float32)
    steps = exact / _by_channel(scales.astype(np.float64), weight.ndim)
    if of_picture:
        values = rounded_for_pictures(steps, WEIGHT_LIMIT, pairs)
    else:
        values = np.clip(np.rint(steps), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return Weight(values=values.astype(np.int8), scales=scales)


def room_for_bias(scales: NDArray[np.float32], bias: Array, input_scale: float) -> NDArray[np.float32]:
    """Weight scales, raised where a channel's bias would not fit into int32 in units of ``input_scale * scales``.

    A pruned channel has no weights and may have a bias; one with next to none returns its bias and little else. What
    the coarser scale rounds away there is at most a step of ``bias / 2**30`` per weight, which no float32 would show.
    """
    smallest = np.abs(bias.astype(np.float64)) / (input_scale * BIAS_LIMIT)
    return np.asarray(np.maximum(scales, smallest), np.float32)


def bias_int32(bias: Array, input_scale: float, scales: NDArray[np.float32]) -> NDArray[np.int32]:
    """A bias in the units of an int8 layer's sums, ``input_scale * scales``.

    Raises:
        EdgecvxError: It does not fit: the channel's weights are tiny beside its bias.
    """
    unit = input_scale * scales.astype(np.float64)
    steps = np.rint(bias.astype(np.float64) / unit)
    limits = np.iinfo(np.int32)
    if (np.abs(steps) > limits.max).any():
        channel = int(np.abs(steps).argmax())
        raise EdgecvxError(
            f"the bias {float(bias[channel]):g} of channel {channel} does not fit into int32 in units of "
            f"{float(unit[channel]):.3g}: leave this layer float"
        )
    return steps.astype(np.int32)


def _by_channel(scales: Array, ndim: int) -> Array:
    return scales.reshape(-1, *[1] * (ndim - 1))
