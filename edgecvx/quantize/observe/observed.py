"""What a calibration saw of each tensor that may become INT8: values only, no graph and no pictures.

Everything is kept twice, for two disjoint halves of the pictures: where the halves disagree, so would another set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import one_of

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfStatistics:
    """One tensor over one half of the pictures: exact figures per channel, and a sample of its pixels."""

    pictures: int
    low: Floats
    """The smallest value of each channel, ``[C]``."""
    high: Floats
    mean: Floats
    rows: NDArray[np.float32]
    """Pixels drawn evenly from all pictures, ``[N, C]``: all channels of a pixel together, as a 1x1 layer sees them."""
    pixels: int
    """How many there were."""
    extremes: NDArray[np.float32]
    """Of the pictures that reach furthest from zero the pixel that does, ``[M, C]``: what a sample would miss."""
    alike: Floats
    """For each of those, how many pixels of its picture reach half as far in the same channel, ``[M]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointStatistics:
    """One tensor over all pictures."""

    halves: tuple[HalfStatistics, ...]
    """Two; one if there was only one picture."""

    @property
    def low(self) -> Floats:
        """The smallest value of each channel."""
        return np.min([half.low for half in self.halves], axis=0)  # type: ignore[no-any-return]

    @property
    def high(self) -> Floats:
        """The largest value of each channel."""
        return np.max([half.high for half in self.halves], axis=0)  # type: ignore[no-any-return]

    @property
    def mean(self) -> Floats:
        """The mean of each channel."""
        return np.average([half.mean for half in self.halves], axis=0, weights=[h.pictures for h in self.halves])

    @property
    def rows(self) -> NDArray[np.float32]:
        """The sampled pixels of both halves, ``[N, C]``."""
        return np.concatenate([half.rows for half in self.halves])

    @property
    def weighted(self) -> tuple[NDArray[np.float32], Floats]:
        """The sampled pixels and the extreme ones, and for how large a part of all each stands."""
        rows, extremes = self.rows, np.concatenate([half.extremes for half in self.halves])
        share = np.concatenate([half.alike for half in self.halves]) / sum(half.pixels for half in self.halves)
        return np.concatenate([rows, extremes]), np.concatenate([np.full(len(rows), 1.0 / len(rows)), share])

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value of the whole tensor."""
        return float(self.low.min()), float(self.high.max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Every tensor that may become INT8, by the name of its point.

    ``{layer}.input`` is what a convolution or the classifier reads, ``{layer}`` what it writes, and the output of an
    activation function has its own name. Layers are called by their output in the canonical graph.
    """

    pictures: int
    points: Mapping[str, PointStatistics]

    def __getitem__(self, point: str) -> PointStatistics:
        """One tensor.

        Raises:
            UsageError: There is no such point.
        """
        if point not in self.points:
            raise one_of("calibrated tensor", point, list(self.points))
        return self.points[point]

    def notes(self) -> tuple[str, ...]:
        """What a user should know about these figures: tensors that were the same number everywhere."""
        constant = [name for name, point in self.points.items() if point.range[0] == point.range[1]]
        if not constant:
            return ()
        named = ", ".join(constant[:3]) + (" and others" if len(constant) > 3 else "")
        return (
            f"{len(constant)} of {len(self.points)} tensors held one single value in every calibration picture "
            f"({named}): either the network or the pictures are empty there",
        )
