"""Pairs of int8 weights whose products every processor can add.

x86 processors without VNNI multiply uint8 by int8 with ``vpmaddubsw``, which adds the products of two neighbours in
int16 and cuts off what does not fit: an INT8 file then computes other numbers than where it was proved. A pair of
weights cannot overflow, whatever the activations, when ``255 * (max(a, 0) + max(b, 0)) <= 32767`` and likewise below
zero: two weights of one sign may reach 128 together, and of two signs anything.

Which weights are neighbours is the kernel's order, and was found by trying every pair of weights alone, in every kernel
our files meet, on processors of every class (``tests/graph/test_pairs_kernels.py``). A depthwise convolution has one
input channel per group and no pairs: in ONNX Runtime and OpenVINO its kernels widen each product by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pairs = NDArray[np.intp]
"""``[n, 2]``: places in the flattened weights of one output channel."""

PAIR_LIMIT = 128
"""What two neighbours of one sign may reach together: 255 * 128 fits into int16, 255 * 129 does not."""
_BEFORE_ROUNDING = PAIR_LIMIT - 2.0**-10
"""Rounding adds at most a half to each of two weights: a sum under 128 becomes one of 128 at most. The rest is for the
digits of a float32 scale."""
EXAMPLES = 5
"""Pairs that are named; a file that was made without looking at them has ten thousands."""


class PairOrder(str, enum.Enum):
    """How kernels walk the weights ``[in, height, width]`` of an output channel, or ``[in]`` of a product's.

    A pair is the first and the second of them, the third and the fourth, and so on.
    """

    CHANNELS = "channels"
    """At each position of the kernel its channels: OpenVINO, which fills an odd number of them up with a zero. It may
    cut a product of matrices into two halves: unless four divide its length, the second can begin at an odd place."""
    ROWS = "rows"
    """Height, width, channels, in one run: ONNX Runtime's convolutions."""
    COLUMNS = "columns"
    """Width, channels, height, in one run: a stem whose pixels stand side by side (``edgecvx.export.onnx.int8``)."""


def pairs_of(shape: Sequence[int], order: PairOrder) -> Pairs:
    """The pairs in weights of a shape, ``[out, in]`` or ``[out, in per group, height, width]``."""
    channels, height, width = (*shape[1:], 1, 1) if len(shape) == 2 else shape[1:]
    if order is PairOrder.CHANNELS and len(shape) == 2 and channels % 4:
        return np.stack([np.arange(channels - 1), np.arange(1, channels)], axis=1)
    places = np.arange(channels * height * width, dtype=np.intp).reshape(channels, height, width)
    if order is PairOrder.CHANNELS:
        places = places[: channels // 2 * 2].transpose(1, 2, 0)
    else:
        places = places.transpose((1, 2, 0) if order is PairOrder.ROWS else (2, 0, 1))
    return np.asarray(places.reshape(-1)[: places.size // 2 * 2].reshape(-1, 2), np.intp)


def sums_of(rows: Array, pairs: Pairs) -> Array:
    """What the neighbours of each pair reach together, row by row: nothing where their signs differ."""
    first, second = rows[:, pairs[:, 0]], rows[:, pairs[:, 1]]
    return np.where((first > 0) == (second > 0), np.abs(first + second), 0)


def room_for_pairs(steps: Array, pairs: Sequence[Pairs]) -> NDArray[np.float64]:
    """By how much the scale of each output channel has to grow for its pairs to fit; 1 where they do.

    Args:
        steps: Weights in units of their scale, not rounded yet, output channels first.
        pairs: In every order that a kernel may take.
    """
    rows, room = steps.reshape(len(steps), -1), np.ones(len(steps))
    for pair in pairs:
        room = np.maximum(room, sums_of(rows, pair).max(axis=1, initial=0.0) / _BEFORE_ROUNDING)
    return room


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A layer whose kernel may multiply uint8 by int8, as its file has it."""

    name: str
    values: NDArray[np.int8]
    """``[out, in]`` or ``[out, in per group, height, width]``."""
    order: PairOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """Two weights whose products some processors cannot add."""

    layer: str
    channel: int
    """The output channel."""
    places: tuple[tuple[int, ...], tuple[int, ...]]
    """Where they stand in it: the input channel, or input channel, row and column."""
    weights: tuple[int, int]

    def __str__(self) -> str:
        first, second = (", ".join(map(str, place)) for place in self.places)
        return (
            f"{self.layer}: in output channel {self.channel} the neighbours [{first}] and [{second}] are "
            f"{self.weights[0]} and {self.weights[1]}, together over {PAIR_LIMIT}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCheck:
    """What a look at every pair of a file's integer weights found."""

    pairs: int
    """How many there are."""
    overflowing: int = 0
    """How many of them some processors cannot add."""
    examples: tuple[Overflow, ...] = ()
    """The first of those."""

    def __str__(self) -> str:
        if not self.overflowing:
            return f"{self.pairs:,}, and every processor can add the products of each"
        rest = self.overflowing - len(self.examples)
        named = "; ".join(map(str, self.examples)) + (f"; and {rest:,} more" if rest else "")
        return (
            f"{self.overflowing:,} of {self.pairs:,} overflow on processors that add their products in int16: {named}"
        )


def check_pairs(products: Iterable[Product]) -> PairCheck:
    """Holds every pair of neighbours in a file's integer weights to what all processors can add."""
    pairs = overflowing = 0
    examples: list[Overflow] = []
    for product in products:
        places = pairs_of(product.values.shape, product.order)
        rows = product.values.reshape(len(product.values), -1).astype(np.int64)
        over = sums_of(rows, places) > PAIR_LIMIT
        pairs, overflowing = pairs + over.size, overflowing + int(over.sum())
        for channel, index in np.argwhere(over)[: EXAMPLES - len(examples)]:
            a, b = (np.unravel_index(place, product.values.shape[1:]) for place in places[index])
            examples.append(
                Overflow(
                    layer=product.name,
                    channel=int(channel),
                    places=(tuple(map(int, a)), tuple(map(int, b))),
                    weights=(int(rows[channel, places[index, 0]]), int(rows[channel, places[index, 1]])),
                )
            )
    return PairCheck(pairs=pairs, overflowing=overflowing, examples=tuple(examples))
